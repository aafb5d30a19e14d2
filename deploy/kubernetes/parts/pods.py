"""A process of ours as a Deployment, a StatefulSet or a Job, with its pod, its Service and its disruption budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from parts.processes import (
    COMPONENT,
    NAME,
    PART,
    PRINCIPAL,
    PROJECT,
    USER_ID,
    Manifest,
    Process,
    everything,
    labels,
    meta,
    monitor_port,
)
from streamapp.broker.secure import BROKER
from streamapp.topics.registry import PAGES, REDRIVER

SECRETS = "/run/secrets"

ONLY: Mapping[str, Any] = {"kafka-ca": {"items": [{"key": "ca.crt", "path": "ca.crt"}]}}
"""Secret → what of it is mounted, where that is not all: the authority's key is nobody's business."""


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
