"""Who may talk to whom: the rendered policies, against what the registries imply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from manifests import OVERLAYS, Manifest, one, overlay, with_components
from reach import Pod, matrix, pods, reaches

from streamapp.access.wanted import principals
from streamapp.agents.registry import AGENTS
from streamapp.topics.registry import GROUPS

PRINCIPAL, PART, NAME = "hanzo.ai/kafka-principal", "app.kubernetes.io/part-of", "app.kubernetes.io/name"
KAFKA, TLS, CONTROLLER, METRICS = "insights-kafka", 9093, 9094, 9404
OURS = {group.principal for group in GROUPS}
WORKERS = {name for name, _, _ in AGENTS}
SERVICES = {"reconcile": 6200, "watch": 6300, "schema-registry": 8081}

PROMETHEUS = Pod("prometheus", "monitoring", {NAME: "prometheus"})
PROXY = Pod("ingress", "ingress-nginx", {NAME: "ingress-nginx"})
STRANGER = Pod("stranger", "hanzo", {NAME: "web-shop"})
ELSEWHERE = Pod("elsewhere", "default", {PRINCIPAL: "billing-aggregator"})
WORLD = Pod("world", "", {})
SECOND = Pod("kafka-1", "hanzo", {NAME: KAFKA, PART: "hanzo-stream"}, (TLS, CONTROLLER, METRICS))
STORES = [
    Pod("postgres", "hanzo", {NAME: "postgres"}, (5432,)),
    Pod("clickhouse", "hanzo", {NAME: "clickhouse"}, (8123,)),
]


def others() -> Iterator[Pod]:
    """The services of other teams: each is one principal, in the namespace."""
    for principal in principals():
        yield Pod(f"team-{principal.name}", "hanzo", {PRINCIPAL: principal.name})


def world(manifests: list[Manifest]) -> list[Pod]:
    return [*pods(manifests), *others(), *STORES, SECOND, PROMETHEUS, PROXY, STRANGER, ELSEWHERE, WORLD]


def policies(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == "NetworkPolicy"]


def implied(manifests: list[Manifest]) -> set[tuple[str, str, int]]:
    """What must be open, from the registries alone; nothing else may be."""
    made = {each.name: each for each in pods(manifests)}
    ports = {name: made[name].ports for name in made}
    brokers = (KAFKA, SECOND.name)
    users = [name for name in made if name != KAFKA] + [each.name for each in others()]
    found = {(user, broker, TLS) for user in users for broker in brokers}
    found |= {(KAFKA, SECOND.name, port) for port in (TLS, CONTROLLER)} | {
        (SECOND.name, KAFKA, port) for port in (TLS, CONTROLLER)
    }
    found |= {("prometheus", broker, METRICS) for broker in brokers}
    served = [name for name in made if name != KAFKA and ports[name]]
    found |= {("prometheus", name, ports[name][1]) for name in served}
    found |= {(asking, name, ports[name][0]) for asking in WORKERS for name in WORKERS if asking != name}
    found |= {("watch", name, ports[name][0]) for name in WORKERS}  # the money that is open
    found |= {(asking, name, port) for asking in WORKERS for name, port in SERVICES.items()}
    found |= {(asking, store.name, store.ports[0]) for asking in (*WORKERS, "reconcile") for store in STORES}
    # Capture: the world by the ingress controller, and whoever is in the namespace and not bound by a policy of ours.
    free = [each.name for each in (*others(), *STORES, STRANGER)]
    found |= {(asking, "capture", 3000) for asking in ("ingress", *free)}
    found |= {(asking, "schema-registry", 8081) for asking in free}
    return found | {
        (asking, store.name, store.ports[0])
        for asking in unbound(manifests)
        for store in STORES
        if asking != store.name
    }


def unbound(manifests: list[Manifest]) -> list[str]:
    """Whoever is not ours: what they may do with stores is said by others."""
    return [each.name for each in world(manifests) if each.labels.get(PART) != "hanzo-stream"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_open_is_what_the_registries_imply(name: str) -> None:
    found = overlay(name)
    is_open, wanted = matrix(policies(found), world(found)), implied(found)
    assert is_open - wanted == set()
    assert wanted - is_open == set()


def test_the_operators_pod_reaches_brokers_and_nothing_else(tmp_path: Path) -> None:
    found = with_components(tmp_path / "overlay", "operator")
    is_open = {row for row in matrix(policies(found), world(found)) if row[0] == "operator"}
    assert is_open == {("operator", broker, TLS) for broker in (KAFKA, SECOND.name)}


def test_nobody_but_brokers_reaches_a_controller_and_no_stranger_a_broker() -> None:
    found = overlay("one-broker")
    broker = next(each for each in pods(found) if each.name == KAFKA)
    asking = [each for each in world(found) if each.name not in (KAFKA, SECOND.name)]
    assert not [each.name for each in asking if reaches(policies(found), each, broker, CONTROLLER)]
    for stranger in (STRANGER, ELSEWHERE, WORLD, PROXY):
        assert not reaches(policies(found), stranger, broker, TLS), stranger.name


def test_a_pod_of_ours_that_no_policy_names_may_do_nothing() -> None:
    found = overlay("one-broker")
    new = Pod("new", "hanzo", {PART: "hanzo-stream"}, (80,))
    broker = next(each for each in pods(found) if each.name == KAFKA)
    assert not reaches(policies(found), new, broker, TLS)
    assert not reaches(policies(found), STRANGER, new, 80)


def test_a_policy_that_lets_commerce_reach_the_controller_is_found() -> None:
    found = overlay("one-broker")
    rules = one(found, "NetworkPolicy", KAFKA)["spec"]["ingress"]
    (rule,) = (each for each in rules if each["from"] == [{"podSelector": {"matchLabels": {PRINCIPAL: "commerce"}}}])
    rule["ports"].append({"port": CONTROLLER, "protocol": "TCP"})
    extra = matrix(policies(found), world(found)) - implied(found)
    assert extra == {("team-commerce", broker, CONTROLLER) for broker in (KAFKA, SECOND.name)}


def test_a_worker_that_may_not_reach_the_broker_is_found() -> None:
    found = overlay("one-broker")
    spec = one(found, "NetworkPolicy", "billing-agg")["spec"]
    spec["egress"] = [each for each in spec["egress"] if {"port": TLS, "protocol": "TCP"} not in each["ports"]]
    missing = implied(found) - matrix(policies(found), world(found))
    assert missing == {("billing-agg", broker, TLS) for broker in (KAFKA, SECOND.name)}


def test_the_proxy_of_people_reaches_the_pages_of_workers_and_nothing_else(tmp_path: Path) -> None:
    found = with_components(tmp_path / "overlay", "oauth2-proxy")
    proxy = next(each for each in pods(found) if each.name == "oauth2-proxy")
    is_open = {(target, port) for source, target, port in matrix(policies(found), world(found)) if source == proxy.name}
    made = {each.name: each for each in pods(found)}
    assert is_open == {(name, port) for name in WORKERS for port in made[name].ports}
