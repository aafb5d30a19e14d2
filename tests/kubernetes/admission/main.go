// Command admission reads Kubernetes YAML (files, or standard input) and says what an API server says when it is asked
// to create it: strict decoding, defaults, then the server's own validation and warnings. With -pss LEVEL it applies a
// Pod Security Standard, too. Unknown kinds are an error unless -skip.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	request "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	serviceutil "k8s.io/kubernetes/pkg/api/service"
	"k8s.io/kubernetes/pkg/apis/batch"
	batchval "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	coreval "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/capabilities"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"

	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
)

// The server's create strategies: they choose the validation options and also give warnings.
// The strategies of the core kinds pull in 600 more packages, so direct() calls their Validate*.
var strategies = map[string]rest.RESTCreateStrategy{
	"StatefulSet": statefulset.Strategy, "Deployment": deployment.Strategy,
	"NetworkPolicy": networkpolicy.Strategy, "Ingress": ingress.Strategy,
	"PodDisruptionBudget": poddisruptionbudget.Strategy,
	"Role":                role.Strategy, "RoleBinding": rolebinding.Strategy,
}

type collector struct{ lines []string }

func (c *collector) AddWarning(_, text string) { c.lines = append(c.lines, text) }

func direct(ctx context.Context, obj runtime.Object) (errs field.ErrorList, warns []string, known bool) {
	switch o := obj.(type) {
	case *core.Service:
		if o.Spec.Type != core.ServiceTypeExternalName && len(o.Spec.ClusterIPs) == 0 { // the server's allocator
			if o.Spec.ClusterIP == "" {
				o.Spec.ClusterIP = "10.0.0.1"
			}
			one := core.IPFamilyPolicySingleStack
			o.Spec.ClusterIPs, o.Spec.IPFamilies, o.Spec.IPFamilyPolicy = []string{o.Spec.ClusterIP}, []core.IPFamily{core.IPv4Protocol}, &one
		}
		return coreval.ValidateServiceCreate(o), serviceutil.GetWarningsForService(o, nil), true
	case *core.ConfigMap:
		return coreval.ValidateConfigMap(o), nil, true
	case *core.Secret:
		return coreval.ValidateSecret(o), nil, true
	case *core.ServiceAccount:
		return coreval.ValidateServiceAccount(o), nil, true
	case *core.Namespace:
		return coreval.ValidateNamespace(o), nil, true
	case *core.Pod:
		opts := podutil.GetValidationOptionsFromPodSpecAndMeta(&o.Spec, nil, &o.ObjectMeta, nil)
		return coreval.ValidatePodCreate(o, opts), podutil.GetWarningsForPod(ctx, o, nil), true
	case *batch.Job: // the selector is the server's work, so check the job as a template
		t := &batch.JobTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		opts := podutil.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		return batchval.ValidateJobTemplateSpec(t, nil, opts),
			podutil.GetWarningsForPodTemplate(ctx, field.NewPath("spec", "template"), &o.Spec.Template, nil), true
	}
	return nil, nil, false
}

// causes takes the server's answer apart: one line per field.
func causes(err error) (out []string) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, c := range status.Status().Details.Causes {
			out = append(out, c.Field+": "+c.Message)
		}
	}
	if err != nil && out == nil {
		out = []string{err.Error()}
	}
	return out
}

type checker struct {
	codecs serializer.CodecFactory
	pss    *psapi.LevelVersion
	eval   policy.Evaluator
	skip   bool
}

func (c *checker) document(doc []byte) (name string, problems, warns []string) {
	obj, gvk, err := c.codecs.UniversalDecoder().Decode(doc, nil, nil) // applies the defaults too
	if err != nil {
		if runtime.IsNotRegisteredError(err) && c.skip {
			return "custom resource", nil, []string{"skipped: " + err.Error()}
		}
		problems = append(problems, strings.Split(err.Error(), "\n")...)
		if obj == nil || !runtime.IsStrictDecodingError(err) {
			return "?", problems, nil
		}
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return gvk.Kind, append(problems, err.Error()), nil
	}
	name = gvk.Kind + "/" + m.GetName()
	if strings.Contains(gvk.Version, "beta") || strings.Contains(gvk.Version, "alpha") {
		problems = append(problems, gvk.GroupVersion().String()+" is not served by default")
	}
	got := &collector{}
	ctx := warning.WithWarningRecorder(context.Background(), got)
	s, ok := strategies[gvk.Kind]
	if !ok || s.NamespaceScoped() {
		if m.GetNamespace() == "" {
			m.SetNamespace("default")
		}
	}
	if ok {
		rest.FillObjectMetaSystemFields(m)
		ctx = request.WithRequestInfo(request.WithNamespace(ctx, m.GetNamespace()), &request.RequestInfo{
			APIGroup: gvk.Group, APIVersion: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s", Verb: "create"})
		err = rest.BeforeCreate(s, ctx, obj)
		problems = append(problems, causes(err)...)
	} else {
		if _, isNamespace := obj.(*core.Namespace); isNamespace {
			m.SetNamespace("")
		}
		errs, more, known := direct(ctx, obj)
		if !known && !c.skip {
			problems = append(problems, "this program has no check for kind "+gvk.Kind)
		}
		for _, e := range errs {
			problems = append(problems, e.Error())
		}
		got.lines = append(got.lines, more...)
	}
	if c.pss != nil {
		problems = append(problems, c.security(doc)...)
	}
	return name, problems, got.lines
}

func (c *checker) security(doc []byte) (out []string) {
	versioned, _, err := serializer.NewCodecFactory(legacyscheme.Scheme).UniversalDeserializer().Decode(doc, nil, nil)
	if err != nil {
		return nil
	}
	var t corev1.PodTemplateSpec
	switch o := versioned.(type) {
	case *corev1.Pod:
		t.ObjectMeta, t.Spec = o.ObjectMeta, o.Spec
	case *appsv1.StatefulSet:
		t = o.Spec.Template
	case *appsv1.Deployment:
		t = o.Spec.Template
	case *batchv1.Job:
		t = o.Spec.Template
	default:
		return nil
	}
	r := policy.AggregateCheckResults(c.eval.EvaluatePod(*c.pss, &t.ObjectMeta, &t.Spec))
	if !r.Allowed {
		out = append(out, fmt.Sprintf("PodSecurity %q: %s", c.pss.Level, r.ForbiddenDetail()))
	}
	return out
}

func main() {
	pss := flag.String("pss", "", "also apply this Pod Security Standard: baseline or restricted")
	skip := flag.Bool("skip", false, "accept kinds that are not built in (custom resources)")
	flag.Parse()
	capabilities.Setup(true, 0) // as kubeadm and the clouds do: privileged is the policy's business
	c := &checker{codecs: serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict), skip: *skip}
	if *pss != "" {
		c.pss = &psapi.LevelVersion{Level: psapi.Level(*pss), Version: psapi.LatestVersion()}
		var err error
		if c.eval, err = policy.NewEvaluator(policy.DefaultChecks(), nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	files := flag.Args()
	if len(files) == 0 {
		files = []string{"/dev/stdin"}
	}
	documents, bad := 0, 0
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
			if len(bytes.TrimSpace(doc)) == 0 {
				continue
			}
			documents++
			name, problems, warns := c.document(doc)
			for _, p := range problems {
				fmt.Printf("%s: %s: ERROR %s\n", f, name, p)
			}
			for _, w := range warns {
				fmt.Printf("%s: %s: warning %s\n", f, name, w)
			}
			if len(problems) > 0 {
				bad++
			}
		}
	}
	fmt.Printf("%d documents, %d with problems\n", documents, bad)
	if bad > 0 || documents == 0 {
		os.Exit(1)
	}
}
