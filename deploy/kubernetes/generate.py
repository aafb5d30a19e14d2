"""The manifests that follow from the registries: `python deploy/kubernetes/generate.py` writes base/processes.yaml,
base/network.yaml and parts of components/. Groups, counts, ports, principals and who may talk to whom come from the
code.

`PROCESSES` has one line per process that is no worker. A line is all that it takes to run another one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from streamapp.access.wanted import LAG_MONITOR, PROVISIONER, RECONCILER, principals
from streamapp.agents.registry import AGENTS
from streamapp.broker.secure import ADMIN, BROKER
from streamapp.cli.lists import WORKER
from streamapp.settings import Settings
from streamapp.topics.registry import INTERNAL_TOPICS, PAGES, REDRIVER, SCHEMA_REGISTRY, group, port_offset, topic

HERE = Path(__file__).resolve().parent
HEAD = "# Made by deploy/kubernetes/generate.py from the registries. Do not edit: the next run writes it again.\n"
PRINCIPAL = "hanzo.ai/kafka-principal"
NAME, PART, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/component"
PROJECT, KAFKA = "hanzo-stream", "insights-kafka"
IMAGE, OPERATOR_IMAGE, USER_ID = "hanzo-stream", "hanzo-stream-operator", 10001  # as the Dockerfile has it
TLS_PORT, CONTROLLER_PORT, BROKER_METRICS, MONITOR_PORT = 9093, 9094, 9404, 9100
NAMESPACE_NAME = "kubernetes.io/metadata.name"
PROMETHEUS, INGRESS = "monitoring", "ingress-nginx"  # namespaces
SECRETS = "/run/secrets"
STORES: Mapping[str, int] = {"postgres": 5432, "clickhouse": 8123}
"""Pods that keep what workers make, by their label `app.kubernetes.io/name`, and their ports."""

ONLY: Mapping[str, Any] = {"kafka-ca": {"items": [{"key": "ca.crt", "path": "ca.crt"}]}}
"""Secret → what of it is mounted, where that is not all: the authority's key is nobody's business."""

Manifest = dict[str, Any]


class Process(NamedTuple):
    """A process of ours. `port` is where its pages are, `host` the setting of their address. `stores`: it speaks to
    databases and to the archive. `rows`: size of a volume of its own for the rows of its table. `once`: a job, of
    `limit_s` seconds at most. `asks`: it asks the workers' pages. `pages`: it is a worker, and shows them."""

    name: str
    command: tuple[str, ...]
    principal: str
    component: str
    port: int = 0
    host: str = ""
    replicas: int = 1
    memory: tuple[str, str] = ("256Mi", "512Mi")
    cpu: tuple[str, str] = ("100m", "1")
    stores: bool = False
    rows: str = ""
    once: bool = False
    limit_s: int = 1800
    asks: bool = False
    pages: bool = False
    image: str = IMAGE


_DEFAULT = Settings.model_construct()
PROCESSES: tuple[Process, ...] = (
    Process("capture", ("streamapp", "capture"), "insights-capture", "capture", _DEFAULT.capture.port, "CAPTURE", 2),
    Process("reconcile", ("streamapp", "reconcile"), RECONCILER, "service", _DEFAULT.reconcile.port, "RECONCILE",
            memory=("512Mi", "2Gi"), stores=True),
    # The money that is open is in the tables of billing groups: watch asks their workers.
    Process("watch", ("streamapp", "watch"), LAG_MONITOR, "service", _DEFAULT.watch.port, "WATCH", asks=True),
    Process("schema-registry", ("streamapp", "registry"), SCHEMA_REGISTRY, "registry", _DEFAULT.registry.port,
            "REGISTRY"),
    Process("access", ("streamapp", "access", "apply"), ADMIN, "job", once=True),
    Process("topics", ("streamapp", "topics", "apply"), PROVISIONER, "job", once=True),
)  # fmt: skip
OPERATOR = Process("operator", ("sleep", "infinity"), ADMIN, "job", memory=("512Mi", "1Gi"), once=True, limit_s=86_400,
                   image=OPERATOR_IMAGE)  # fmt: skip
"""A pod for a person's commands that need Kafka's own tools, for a day: the component `operator`."""


def workers() -> Iterator[Process]:
    """The workers of every group that has an agent, as many as the standard says. A table that is kept by key needs its
    rows at hand: its workers have volumes; they are rebuilt from the changelog where one is lost."""
    for name, module, _ in AGENTS:
        keyed = any(name in item.producers and item.table and item.keyed for item in INTERNAL_TOPICS)
        command = tuple(word or module for word in WORKER)
        port, registered = _DEFAULT.web.port + port_offset(name), group(name)
        yield Process(
            name, command, registered.principal, "worker", port, "WEB", registered.consumers, ("512Mi", "1Gi"),
            ("250m", "1"), True, "10Gi" if keyed else "", asks=True, pages=True,
        )  # fmt: skip


def everything() -> tuple[Process, ...]:
    """Every process of ours, in the order of the files."""
    return (*workers(), *PROCESSES)


def labels(one: Process) -> dict[str, str]:
    return {NAME: one.name, PART: PROJECT, COMPONENT: one.component}


def monitor_port(one: Process) -> int:
    """Where a process answers /metrics without asking who asks: workers count from it as from their port."""
    return MONITOR_PORT + (port_offset(one.name) if one.component == "worker" else 0)


# Pods


def environment(one: Process) -> list[Manifest]:
    """What a process is told beside the ConfigMap `stream-settings`."""
    given = {
        "STREAM_KAFKA__SSL_CA_FILE": f"{SECRETS}/kafka-ca/ca.crt",
        "STREAM_KAFKA__SASL_USERNAME": one.principal,
        "STREAM_KAFKA__SASL_PASSWORD_FILE": f"{SECRETS}/kafka/password",
    }
    if one.port:
        given["STREAM_WEB__TOKENS_FILE"] = f"{SECRETS}/pages/tokens"
        given["STREAM_WEB__PEER_TOKEN_FILE"] = f"{SECRETS}/pages/peers"
        given["STREAM_DIRECTORY"] = f"{SECRETS}/directory/directory.toml"
    if one.stores:
        given["STREAM_SECRETS_DIR"] = f"{SECRETS}/stores"
    if one.pages:
        for what, user in (("KAFKA", PAGES), ("REDRIVE", REDRIVER)):
            given[f"STREAM_WEB__{what}_USERNAME"] = user
            given[f"STREAM_WEB__{what}_PASSWORD_FILE"] = f"{SECRETS}/kafka-{user}/password"
    own_address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    hosts = dict.fromkeys((f"STREAM_{one.host}__HOST", "STREAM_WEB__MONITOR_HOST"), own_address) if one.port else {}
    return [{"name": name, "value": value} for name, value in given.items()] + [
        {"name": name, **source} for name, source in hosts.items()
    ]


def secrets(one: Process) -> dict[str, str]:
    """Folder below /run/secrets → the Secret that is mounted there."""
    found = {"kafka": f"kafka-{one.principal}", "kafka-ca": "kafka-ca"}
    if one.port:
        found |= {"pages": "stream-pages", "directory": "stream-directory"}
    if one.stores:
        found["stores"] = "stream-stores"
    if one.pages:
        found |= {f"kafka-{user}": f"kafka-{user}" for user in (PAGES, REDRIVER)}
    return found


def secret_names() -> tuple[str, ...]:
    """Every Secret there must be; no manifest here makes one: docs/kubernetes.md, or the component external-secrets."""
    mounted = {name for one in everything() for name in secrets(one).values()}
    return tuple(sorted({*mounted, "kafka-users", "kafka-tls", f"kafka-{BROKER}"}))


def probe(one: Process, path: str, every_s: int, failures: int) -> Manifest:
    where = {"path": path, "port": "pages"}
    return {"httpGet": where, "periodSeconds": every_s, "timeoutSeconds": 5, "failureThreshold": failures}


def container(one: Process) -> Manifest:
    """The one container of a pod."""
    mounts: list[Manifest] = [{"name": f"secret-{folder}", "mountPath": f"{SECRETS}/{folder}", "readOnly": True}
                              for folder in secrets(one)]  # fmt: skip
    mounts += [{"name": "state", "mountPath": "/var/lib/stream"}, {"name": "tmp", "mountPath": "/tmp"}]
    made: Manifest = {
        "name": one.name,
        "image": one.image,
        "command": list(one.command),
        "envFrom": [{"configMapRef": {"name": "stream-settings"}}],
        "env": environment(one),
        "resources": {
            "requests": {"memory": one.memory[0], "cpu": one.cpu[0]},
            "limits": {"memory": one.memory[1], "cpu": one.cpu[1]},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    if one.port:
        made["ports"] = [
            {"name": "pages", "containerPort": one.port},
            {"name": "metrics", "containerPort": monitor_port(one)},
        ]
        # A start restores rows: `live` answers as soon as the process does, `ready` when its partitions are taken over.
        made["startupProbe"] = probe(one, "/health/live", 2, 150)
        made["livenessProbe"] = probe(one, "/health/live", 10, 6)
        made["readinessProbe"] = probe(one, "/health/ready", 5, 3)
    return made


def pod(one: Process) -> Manifest:
    """The template of a pod."""
    volumes: list[Manifest] = [
        {"name": f"secret-{folder}", "secret": {"secretName": name, "defaultMode": 0o440, **ONLY.get(name, {})}}
        for folder, name in secrets(one).items()
    ]
    if not one.rows:
        volumes.append({"name": "state", "emptyDir": {"sizeLimit": "10Gi"}})
    volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}})
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 30,
        "containers": [container(one)],
        "volumes": volumes,
    }
    if one.once:
        spec["restartPolicy"] = "OnFailure"
    else:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {NAME: one.name}},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    return {"metadata": {"labels": labels(one) | {PRINCIPAL: one.principal}}, "spec": spec}


# Objects


def meta(name: str, given: Mapping[str, str] = {}) -> Manifest:
    return {"name": name, "labels": {PART: PROJECT, **given}}


def manifests(one: Process) -> Iterator[Manifest]:
    """What runs a process: a Job, or a Deployment or StatefulSet with its Service and its disruption budget."""
    selector = {"matchLabels": {NAME: one.name}}
    if one.once:
        # A job's template cannot be changed: `kubectl apply` of another release fails while the job is there. It is
        # deleted an hour after its end; the next apply makes it anew.
        spec: Manifest = {"backoffLimit": 10, "activeDeadlineSeconds": one.limit_s, "ttlSecondsAfterFinished": 3600}
        spec["template"] = pod(one)
        yield {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(one.name, labels(one)), "spec": spec}
        return
    own: Manifest = {"replicas": one.replicas, "selector": selector, "template": pod(one)}
    if one.rows:
        own |= {"serviceName": one.name, "podManagementPolicy": "Parallel", "volumeClaimTemplates": [claim(one.rows)]}
    elif one.component == "worker":
        # A group moves its partitions once for each pod that leaves or comes: never more than there are at rest.
        own["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    yield {"apiVersion": "apps/v1", "kind": kind(one), "metadata": meta(one.name, labels(one)), "spec": own}
    ports = [{"name": "pages", "port": one.port, "targetPort": "pages"}]
    service: Manifest = {"selector": {NAME: one.name}, "ports": ports}
    if one.rows:
        service["clusterIP"] = "None"
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta(one.name, labels(one)), "spec": service}
    budget = {"maxUnavailable": 1, "selector": selector}
    head = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    yield {**head, "metadata": meta(one.name, labels(one)), "spec": budget}


def kind(one: Process) -> str:
    return "StatefulSet" if one.rows else "Deployment"


def claim(size: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "state"}, "spec": spec}


def pages_service() -> Manifest:
    """The pages of all workers: each shows what every one knows."""
    ports = [{"name": "pages", "port": 80, "targetPort": "pages"}]
    spec = {"selector": {COMPONENT: "worker", PART: PROJECT}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta("stream-pages"), "spec": spec}


# Who may talk to whom


def peers(*selectors: Mapping[str, str]) -> list[Manifest]:
    return [{"podSelector": {"matchLabels": dict(one)}} for one in selectors]


def namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}}


def ports(*numbers: int, protocol: str = "TCP") -> list[Manifest]:
    return [{"port": number, "protocol": protocol} for number in numbers]


DNS = {
    "to": [namespace("kube-system") | {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [*ports(53, protocol="UDP"), *ports(53)],
}
WORKERS, BROKERS = {COMPONENT: "worker", PART: PROJECT}, {NAME: KAFKA, PART: PROJECT}


def policy(name: str, selector: Mapping[str, str], come: list[Manifest], go: list[Manifest]) -> Manifest:
    """A policy that says both, who may come and where to go: what it does not name is refused."""
    spec: Manifest = {"podSelector": {"matchLabels": dict(selector)}, "policyTypes": ["Ingress", "Egress"]}
    spec |= ({"ingress": come} if come else {}) | ({"egress": go} if go else {})
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(name), "spec": spec}


def users() -> tuple[str, ...]:
    """Every principal that logs in to Kafka over the network, but the brokers' own."""
    return (*(one.name for one in principals()), ADMIN)


def policies() -> Iterator[Manifest]:
    """The brokers' policy, one for each process, and a closed door for whatever else of ours there may be."""
    yield policy("hanzo-stream", {PART: PROJECT}, [], [])
    yield policy(
        KAFKA,
        BROKERS,
        [
            {"from": peers({PRINCIPAL: user}), "ports": ports(TLS_PORT)} for user in users()
        ]
        + [
            {"from": peers(BROKERS), "ports": ports(TLS_PORT, CONTROLLER_PORT)},
            {"from": [namespace(PROMETHEUS)], "ports": ports(BROKER_METRICS)},
        ],
        [DNS, {"to": peers(BROKERS), "ports": ports(TLS_PORT, CONTROLLER_PORT)}],
    )  # fmt: skip
    for one in everything():
        made = policy_of(one)
        if one.pages:
            made["metadata"]["labels"]["hanzo.ai/pages"] = "workers"  # where the component oauth2-proxy lets itself in
        yield made


def policy_of(one: Process) -> Manifest:
    return policy(one.name, {NAME: one.name, PART: PROJECT}, list(callers(one)), list(called(one)))


def callers(one: Process) -> Iterator[Manifest]:
    """Who may come to a process: Prometheus to its metrics; to a worker's pages whoever asks them, to a service's the
    workers. To the registry every pod of the namespace, to capture also the world, through the ingress controller."""
    if not one.port:
        return
    yield {"from": [namespace(PROMETHEUS)], "ports": ports(monitor_port(one))}
    anybody: Manifest = {"podSelector": {}}
    asking = [{NAME: each.name, PART: PROJECT} for each in PROCESSES if each.asks and one.pages]
    of_component = {"capture": [namespace(INGRESS), anybody], "registry": [anybody]}
    yield {"from": of_component.get(one.component, peers(WORKERS, *asking)), "ports": ports(one.port)}


def called(one: Process) -> Iterator[Manifest]:
    """Where a process goes: names, Kafka, and what its work or its pages need."""
    yield DNS
    yield {"to": peers(BROKERS), "ports": ports(TLS_PORT)}
    for name, port in STORES.items() if one.stores else ():
        yield {"to": peers({NAME: name}), "ports": ports(port)}
    if one.asks:
        yield {"to": peers(WORKERS), "ports": ports(*sorted(each.port for each in workers()))}
    if one.pages:
        for each in PROCESSES:
            if each.component not in ("service", "registry"):
                continue
            yield {"to": peers({NAME: each.name, PART: PROJECT}), "ports": ports(each.port)}
    if one.stores:  # the archive's bucket, and whoever is told of incidents: outside, by TLS
        yield {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}}], "ports": ports(443)}


PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")


# Components


def scaled() -> Iterator[Manifest]:
    """KEDA: more workers while what a group reads is older than a minute; never more than there are partitions."""
    for one in workers():
        most = max(topic(name).partitions for name in group(one.name).topics)
        if most == one.replicas:
            continue
        query = f'max(stream_lag_seconds{{group="{one.name}"}})'
        asked = {"serverAddress": "http://prometheus.monitoring:9090", "query": query, "threshold": "60"}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind(one), "name": one.name},
            "minReplicaCount": one.replicas,
            "maxReplicaCount": most,
            "pollingInterval": 60,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": SLOWLY}},
            "triggers": [{"type": "prometheus", "metricType": "Value", "metadata": asked}],
        }
        yield {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": in_namespace(one.name),
            "spec": spec,
        }


def external() -> Iterator[Manifest]:
    """External Secrets: each Secret from the key of its name; the certificates are cert-manager's, or yours."""
    for name in secret_names():
        if name in ("kafka-ca", "kafka-tls"):
            continue
        spec = {
            "refreshInterval": "1m",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "kms"},
            "target": {"name": name},
            "dataFrom": [{"extract": {"key": f"hanzo-stream/{name}"}}],
        }
        head = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret"}
        yield {**head, "metadata": in_namespace(name), "spec": spec}


def monitors() -> Iterator[Manifest]:
    """Prometheus' operator: the jobs of deploy/prometheus/prometheus.yml, found by the pods' labels."""
    jobs = {"stream-workers": WORKERS, "kafka": BROKERS}
    # A job is called as its command: that is what the scrape configuration and the rules have.
    jobs |= {f"stream-{one.command[-1]}": {NAME: one.name, PART: PROJECT} for one in PROCESSES if one.port}
    for job, selector in jobs.items():
        scrape = {
            "port": "metrics",
            "interval": "15s",
            # Labels that a process tells are its own: `group` and `topic` of the watch.
            "honorLabels": True,
            "relabelings": [{"targetLabel": "job", "replacement": job}],
        }
        spec = {"selector": {"matchLabels": selector}, "podMetricsEndpoints": [scrape]}
        head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor"}
        yield {**head, "metadata": in_namespace(job), "spec": spec}


def operator() -> Iterator[Manifest]:
    """The pod for commands that need Kafka's own tools, and where it may go."""
    for made in (*manifests(OPERATOR), policy_of(OPERATOR)):
        yield made | {"metadata": made["metadata"] | {"namespace": "hanzo"}}


SLOWLY = {
    "scaleUp": {"stabilizationWindowSeconds": 120, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]},
    "scaleDown": {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 600}]},
}


def in_namespace(name: str) -> Manifest:
    return meta(name) | {"namespace": "hanzo"}


class _Plain(yaml.SafeDumper):
    """No anchors: each object is whole."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(documents: Iterator[Manifest]) -> str:
    return HEAD + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120, explicit_start=True)


def files() -> dict[str, str]:
    """File below deploy/kubernetes → its text."""
    processes = (made for one in everything() for made in manifests(one))
    return {
        "base/processes.yaml": text(iter((*processes, pages_service()))),
        "base/network.yaml": text(policies()),
        "components/keda/scaledobjects.yaml": text(scaled()),
        "components/operator/operator.yaml": text(operator()),
        "components/external-secrets/externalsecrets.yaml": text(external()),
        "components/servicemonitor/monitors.yaml": text(monitors()),
    }


def main() -> None:
    """Write the files."""
    for name, made in files().items():
        (HERE / name).write_text(made, encoding="utf-8")
        sys.stdout.write(f"{name} is as the registries say\n")


if __name__ == "__main__":
    main()
