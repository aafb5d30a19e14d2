"""What one manifest says of another: no schema sees it, and no API server looks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from manifests import Manifest, template

EXPANDED = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
FILES = "/run/secrets/"


def problems(manifests: list[Manifest], elsewhere: frozenset[str]) -> list[str]:
    """Each sentence names an object. `elsewhere`: Secrets and ConfigMaps that somebody else makes, as `Secret/name`."""
    there = {f"{each['kind']}/{each['metadata']['name']}" for each in manifests} | elsewhere
    found = [problem for each in manifests for problem in _of_pod(each, there)]
    return [*found, *_services(manifests), *_budgets(manifests), *_twice(manifests)]


def labels_of(manifest: Manifest) -> dict[str, str]:
    """The labels of the pods that a manifest makes."""
    pod = template(manifest)
    return {} if pod is None else pod["metadata"]["labels"]


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector means these labels. Only what the project writes is read; the rest is an error."""
    assert selector.keys() <= {"matchLabels"}, selector
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _of_pod(manifest: Manifest, there: set[str]) -> Iterator[str]:
    pod = template(manifest)
    if pod is None:
        return
    name = f"{manifest['kind']}/{manifest['metadata']['name']}"
    spec = pod["spec"]
    volumes = {one["name"] for one in spec["volumes"]}
    volumes |= {one["metadata"]["name"] for one in manifest["spec"].get("volumeClaimTemplates", ())}
    mounted = {mount["name"] for one in spec["containers"] for mount in one["volumeMounts"]}
    yield from (f"{name}: mounts {one}, which is no volume of its" for one in sorted(mounted - volumes))
    yield from (f"{name}: mounts the volume {one} nowhere" for one in sorted(volumes - mounted))
    yield from (f"{name}: needs {one}, which nobody makes" for one in sorted(_needed(spec) - there))
    service = manifest["spec"].get("serviceName")
    if service and f"Service/{service}" not in there:
        yield f"{name}: its service {service} is not there"
    for container in spec["containers"]:
        yield from (f"{name}: {problem}" for problem in _container(container))


def _needed(spec: Manifest) -> set[str]:
    found = {f"Secret/{one['secret']['secretName']}" for one in spec["volumes"] if "secret" in one}
    found |= {f"ConfigMap/{one['configMap']['name']}" for one in spec["volumes"] if "configMap" in one}
    for container in spec["containers"]:
        for one in container.get("envFrom", ()):
            found.add(f"ConfigMap/{one['configMapRef']['name']}")
        for one in container.get("env", ()):
            for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                reference = one.get("valueFrom", {}).get(key)
                if reference and not reference.get("optional"):
                    found.add(f"{kind}/{reference['name']}")
    return found


def _container(container: Manifest) -> Iterator[str]:
    ports = {one["name"] for one in container.get("ports", ())}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(kind, {})
        port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
        if port is not None and port not in ports:
            yield f"its {kind} asks port {port}, which it has not"
        if "exec" in probe:
            yield f"its {kind} starts a process each time"
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    before: set[str] = set()
    for one in container.get("env", ()):
        value = one.get("value", "")
        if one["name"] in before:
            yield f"{one['name']} is set twice"
        yield from (
            f"{one['name']} uses {used} before it is set" for used in EXPANDED.findall(value) if used not in before
        )
        if value.startswith(FILES) and not any(value == path or value.startswith(f"{path}/") for path in mounts):
            yield f"{one['name']}={value} is in no volume that is mounted"
        before.add(one["name"])


def _services(manifests: list[Manifest]) -> Iterator[str]:
    for each in manifests:
        if each["kind"] != "Service":
            continue
        name, selector = f"Service/{each['metadata']['name']}", {"matchLabels": each["spec"]["selector"]}
        pods = [one for one in manifests if template(one) and matches(selector, labels_of(one))]
        if not pods:
            yield f"{name}: selects no pod"
        for one in pods:
            ports = {port["name"] for container in one["spec"]["template"]["spec"]["containers"]
                     for port in container.get("ports", ())}  # fmt: skip
            for port in each["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"{name}: its port {port['targetPort']} is none of {one['metadata']['name']}"


def _budgets(manifests: Iterable[Manifest]) -> Iterator[str]:
    """A disruption budget selects the pods of one manifest, and lets one of them go."""
    manifests = list(manifests)
    for each in manifests:
        if each["kind"] != "PodDisruptionBudget":
            continue
        name, spec = f"PodDisruptionBudget/{each['metadata']['name']}", each["spec"]
        pods = [one for one in manifests if template(one) and matches(spec["selector"], labels_of(one))]
        if len(pods) != 1:
            yield f"{name}: selects the pods of {len(pods)} manifests"
        if spec.get("maxUnavailable", 0) in (0, "0%") or "minAvailable" in spec:
            yield f"{name}: may block a drain for ever"


def _twice(manifests: Iterable[Manifest]) -> Iterator[str]:
    seen = set()
    for each in manifests:
        name = f"{each['kind']}/{each['metadata'].get('namespace', '')}/{each['metadata']['name']}"
        if name in seen:
            yield f"{name}: is there twice"
        seen.add(name)
