"""`streamapp topics check`: what nobody registered, what is misnamed, and brokers that undo the registry."""

from __future__ import annotations

from typing import get_args

import pytest

from streamapp.topics.findings import KINDS, Kind, Seen, findings
from streamapp.topics.plan import Plan, plan
from streamapp.topics.registry import GROUPS, TOPICS, topic

BROKER = {"auto.create.topics.enable": "false", "offsets.retention.minutes": "129600"}
NAMES = frozenset(item.name for item in TOPICS)
GROUP_NAMES = frozenset(item.name for item in GROUPS)


def found(
    topics: frozenset[str] = NAMES, groups: frozenset[str] = GROUP_NAMES, todo: Plan | None = None, **broker: str
) -> list[tuple[str, str]]:
    configs = {**BROKER, **{name.replace("_", "."): value for name, value in broker.items()}}
    seen = Seen(topics, groups, {1: BROKER, 2: configs})
    return [(item.kind, item.name) for item in findings(todo or Plan(), seen)]


def test_a_cluster_as_registered_has_none() -> None:
    assert found() == []
    assert found(NAMES | {"__consumer_offsets", "__transaction_state", "_schemas"}, GROUP_NAMES | {"commerce"}) == []


def test_kinds_are_all_kinds() -> None:
    assert get_args(Kind) == KINDS


def test_an_ad_hoc_topic() -> None:
    name = "prod_MyAdhoc-topic"
    assert found(NAMES | {name}) == [("unregistered_topic", name), ("topic_name", name)]
    (_, bad) = findings(Plan(), Seen(NAMES | {name}, GROUP_NAMES, {}))
    assert "is not snake_case and starts with an environment" in str(bad)


@pytest.mark.parametrize("name", ["team_member_added", "billing-agg-old_table-changelog"])
def test_a_well_named_topic_is_unregistered_all_the_same(name: str) -> None:
    assert found(NAMES | {name}) == [("unregistered_topic", name)]


@pytest.mark.parametrize("name", ["nobody-x-changelog", "PROD.x", "a-b"])
def test_a_misnamed_topic(name: str) -> None:
    assert found(NAMES | {name}) == [("unregistered_topic", name), ("topic_name", name)]


def test_groups() -> None:
    more = GROUP_NAMES | {"fraud-scan", "billing-agg-v2"}
    assert found(groups=more) == [
        ("unregistered_group", "billing-agg-v2"),
        ("group_name", "billing-agg-v2"),
        ("unregistered_group", "fraud-scan"),
    ]


def test_brokers() -> None:
    assert found(auto_create_topics_enable="true") == [("auto_create", "broker 2")]
    assert found(offsets_retention_minutes="10080") == [("offsets_retention", "broker 2")]
    assert [kind for kind, _ in (found(auto_create_topics_enable="unknown", offsets_retention_minutes="unknown"))] == [
        "auto_create",
        "offsets_retention",
    ], "what a broker does not say is not all well"


def test_missing_and_drift() -> None:
    todo = plan([topic("llm_usage")], {}, 1)
    assert found(todo=todo) == [("missing", "llm_usage")]
