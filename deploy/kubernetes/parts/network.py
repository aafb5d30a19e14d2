"""Who may talk to whom: a policy for the brokers, one for each process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from parts.processes import (
    BROKER_METRICS,
    COMPONENT,
    CONTROLLER_PORT,
    INGRESS,
    KAFKA,
    NAME,
    NAMESPACE_NAME,
    PART,
    PRINCIPAL,
    PROCESSES,
    PROJECT,
    PROMETHEUS,
    TLS_PORT,
    Manifest,
    Process,
    everything,
    meta,
    monitor_port,
    workers,
)
from streamapp.access.wanted import principals
from streamapp.broker.secure import ADMIN

STORES: Mapping[str, int] = {"postgres": 5432, "clickhouse": 8123}
"""Pods that keep what workers make, by their label `app.kubernetes.io/name`, and their ports."""


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
