"""What follows from the registries in components/: KEDA, External Secrets, Prometheus' operator, a pod for a person."""

from __future__ import annotations

from collections.abc import Iterator

from parts.network import BROKERS, WORKERS, policy_of
from parts.pods import kind, manifests, secret_names
from parts.processes import NAME, OPERATOR, PART, PROCESSES, PROJECT, Manifest, in_namespace, workers
from streamapp.topics.registry import group, topic


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
