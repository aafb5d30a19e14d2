"""Network policies as a function: which pod may open a connection to which port of which. Pure.

As Kubernetes has it: a pod that a policy selects for a direction may do what one of its policies allows, and nothing
else; a pod that none selects may do everything. A connection needs the leave of both ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from manifests import Manifest, template
from references import matches

NAMESPACE_NAME = "kubernetes.io/metadata.name"


class Pod(NamedTuple):
    """Somebody on the network. `namespace` is "" for an address outside of the cluster, which has no labels."""

    name: str
    namespace: str
    labels: dict[str, str]
    ports: tuple[int, ...] = ()


def pods(manifests: Iterable[Manifest]) -> list[Pod]:
    """One of the pods of each manifest that makes some, with the ports that they listen on."""
    found = []
    for each in manifests:
        made = template(each)
        if made is not None:
            ports = [port["containerPort"] for one in made["spec"]["containers"] for port in one.get("ports", ())]
            meta = each["metadata"]
            found.append(Pod(meta["name"], meta["namespace"], made["metadata"]["labels"], tuple(ports)))
    return found


def reaches(policies: list[Manifest], source: Pod, target: Pod, port: int) -> bool:
    """Whether `source` may open a TCP connection to a port of `target`."""
    return _lets(policies, "Egress", source, target, port) and _lets(policies, "Ingress", target, source, port)


def matrix(policies: list[Manifest], everybody: Iterable[Pod]) -> set[tuple[str, str, int]]:
    """Every (source, target, port) that is open, of the ports that somebody listens on."""
    everybody = list(everybody)
    return {
        (source.name, target.name, port)
        for target in everybody
        for port in target.ports
        for source in everybody
        if source is not target and reaches(policies, source, target, port)
    }


def _lets(policies: list[Manifest], direction: str, own: Pod, other: Pod, port: int) -> bool:
    """Whether one end of a connection gives its leave."""
    if not own.namespace:
        return True
    chosen = [each["spec"] for each in policies if direction in each["spec"]["policyTypes"] and _selects(each, own)]
    key, far = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    if not chosen:
        return True
    return any(
        _port(rule, port) and (far not in rule or any(_peer(peer, own, other) for peer in rule[far]))
        for spec in chosen
        for rule in spec.get(key, ())
    )


def _selects(policy: Manifest, pod: Pod) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and matches(policy["spec"]["podSelector"], pod.labels)


def _port(rule: Manifest, port: int) -> bool:
    asked = rule.get("ports")
    return asked is None or any(one["port"] == port and one.get("protocol", "TCP") == "TCP" for one in asked)


def _peer(peer: Manifest, own: Pod, other: Pod) -> bool:
    """Whether a rule's peer means the other end. An address block means what is outside of the cluster."""
    if "ipBlock" in peer:
        return not other.namespace
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace}):
            return False
    elif other.namespace != own.namespace:
        return False
    return matches(peer.get("podSelector", {}), other.labels)
