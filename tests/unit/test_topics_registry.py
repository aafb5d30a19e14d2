"""The registry is the standard's, and keeps the standard's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from streamapp.broker.properties import PROPERTIES
from streamapp.topics.names import (
    event_topic_name_problem,
    group_name_problem,
    internal_topic_name_problem,
    topic_name_problem,
)
from streamapp.topics.registry import (
    EVENT_TOPICS,
    GROUPS,
    INTERNAL_TOPICS,
    SCHEMA_TOPIC,
    TOPICS,
    changelog,
    group,
    offsets_retention_minutes,
    topic,
)

PROJECT = Path(__file__).parent.parent.parent
GROUP_NAMES = frozenset(item.name for item in GROUPS)


def test_event_topics_begin_with_those_of_the_standard() -> None:
    assert [(t.name, t.partitions, t.retention_ms, t.key) for t in EVENT_TOPICS][:6] == [
        ("events_plugin_ingestion", 16, 604800000, "team_id"),
        ("llm_usage", 8, 1209600000, "team_id"),
        ("billing_events", 4, 2592000000, "org_id"),
        ("audit_log", 4, 7776000000, "org_id"),
        ("agent_rpc_metering", 8, 604800000, "agent_id"),
        ("dead_letter", 1, 2592000000, "source_topic"),
    ]


def test_groups_begin_with_those_of_the_standard_and_the_ledger() -> None:
    assert [(g.name, g.topics, g.consumers) for g in GROUPS][:7] == [
        ("billing-agg", ("llm_usage",), 2),
        ("analytics-ingest", ("events_plugin_ingestion",), 4),
        ("audit-archive", ("audit_log",), 1),
        ("llm-metrics", ("llm_usage",), 2),
        ("rpc-billing", ("agent_rpc_metering",), 2),
        ("dead-letter-monitor", ("dead_letter",), 1),
        ("billing-ledger", ("billing_events",), 1),
    ]


def test_every_name_keeps_the_rules() -> None:
    problems = [
        *(event_topic_name_problem(t.name) for t in EVENT_TOPICS),
        *(topic_name_problem(t.name, GROUP_NAMES) for t in INTERNAL_TOPICS),
        *(group_name_problem(g.name) for g in GROUPS),
    ]
    assert [problem for problem in problems if problem] == []


def test_names_are_unique() -> None:
    assert len({t.name for t in TOPICS}) == len(TOPICS)
    assert len(GROUP_NAMES) == len(GROUPS)


def test_a_group_is_a_consumer_of_each_of_its_topics() -> None:
    for item in GROUPS:
        for name in item.topics:
            assert item.name in topic(name).consumers


def test_an_internal_topic_follows_a_topic_its_group_reads() -> None:
    for item in set(INTERNAL_TOPICS) - {topic(SCHEMA_TOPIC)}:
        (owner,) = item.consumers
        assert item.follows is not None
        assert item.follows in group(owner).topics
        assert item.partitions == topic(item.follows).partitions


def test_offsets_are_kept_as_long_as_the_records() -> None:
    assert offsets_retention_minutes() == 129_600
    assert PROPERTIES["offsets.retention.minutes"] == "129600"
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert compose["services"]["kafka"]["environment"]["KAFKA_OFFSETS_RETENTION_MINUTES"] == 129_600


def test_only_dead_letter_and_changelogs_take_large_records() -> None:
    sizes = {
        t.name: int(dict(t.configs)["max.message.bytes"]) for t in TOPICS if "max.message.bytes" in dict(t.configs)
    }
    rows = (("billing-agg", "usage_hourly"), ("llm-metrics", "latency"), ("rpc-billing", "rpc_hourly"))
    large = dict.fromkeys((changelog(*names) for names in rows), 8 << 20)
    assert sizes.items() >= (large | {"dead_letter": 4 << 20}).items()
    assert sizes.keys() <= {"dead_letter", *(t.name for t in INTERNAL_TOPICS)}


@pytest.mark.parametrize("name", ["Billing_events", "llm-usage", "prod_llm_usage", "stg_x", "_x", "a__b", "1a", ""])
def test_bad_topic_names(name: str) -> None:
    assert event_topic_name_problem(name)


@pytest.mark.parametrize("name", ["product_events", "testimony_added", "a", "llm_usage2"])
def test_good_topic_names(name: str) -> None:
    assert event_topic_name_problem(name) is None


@pytest.mark.parametrize("name", ["billing", "billing_agg", "billing-agg-v1", "billing-agg-2", "Billing-agg", "a--b"])
def test_bad_group_names(name: str) -> None:
    assert group_name_problem(name)


@pytest.mark.parametrize(
    "name", ["billing-agg", "billing-agg-changelog", "nobody-x-changelog", "billing-agg-X-changelog"]
)
def test_bad_internal_names(name: str) -> None:
    assert internal_topic_name_problem(name, GROUP_NAMES)
