"""A plan raises and creates; everything else is drift, all of it at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.topics.plan import (
    RAISED_ALONG,
    AddPartitions,
    Create,
    Plan,
    RaiseConfig,
    TopicState,
    plan,
    wanted_configs,
)
from streamapp.topics.registry import TOPICS, Topic, topic

USAGE = topic("llm_usage")
ROWS = topic("billing-agg-usage_hourly-changelog")
EVENTS = topic("billing_events")


def as_registered(item: Topic, replication_factor: int = 1) -> TopicState:
    configs = wanted_configs(item, replication_factor)
    return TopicState(
        item.partitions, replication_factor, configs, frozenset(configs), written=False, in_sync=replication_factor
    )


def with_configs(item: Topic, **changed: str) -> TopicState:
    have = as_registered(item)
    configs = {**have.configs, **{name.replace("_", "."): value for name, value in changed.items()}}
    return replace(have, configs=configs, overridden=frozenset(configs))


def cluster(**changed: TopicState) -> dict[str, TopicState]:
    return {**{item.name: as_registered(item) for item in TOPICS}, **changed}


def test_nothing_to_do_when_all_is_as_registered() -> None:
    assert plan(TOPICS, cluster(), 1) == Plan()
    assert plan(TOPICS, cluster(), 1).is_clean


def test_an_empty_cluster_gets_every_topic() -> None:
    found = plan(TOPICS, {}, 1)
    assert [change.topic for change in found.changes] == [item.name for item in TOPICS]
    assert all(isinstance(change, Create) for change in found.changes)
    assert found.drifts == ()


def test_creation_carries_retention_cleanup_and_size() -> None:
    (letters,) = plan([topic("dead_letter")], {}, 1).changes
    assert letters == Create(
        "dead_letter",
        1,
        1,
        (("cleanup.policy", "delete"), ("max.message.bytes", "4194304"), ("retention.ms", "2592000000")),
    )
    assert "dead_letter: 1 partitions" in str(letters)


def test_three_replicas_need_two_to_acknowledge() -> None:
    (change,) = plan([EVENTS], {}, 3).changes
    assert isinstance(change, Create)
    assert change.replication_factor == 3
    assert ("min.insync.replicas", "2") in change.configs


def test_what_is_acknowledged_follows_the_replicas_a_topic_has() -> None:
    one, three = as_registered(EVENTS), as_registered(EVENTS, 3)
    unset = {**one.configs, "min.insync.replicas": "1"}
    few = replace(one, configs=unset)
    found = plan([EVENTS], {EVENTS.name: few}, 3)
    assert found.changes == (), "three are wanted, but the topic has one: with two to acknowledge nothing is written"
    assert "1 replicas, wanted are 3" in str(found.drifts[0])
    full = replace(three, configs=unset)
    raised = (RaiseConfig(EVENTS.name, "min.insync.replicas", "1", "2"),)
    assert plan([EVENTS], {EVENTS.name: full}, 3).changes == raised
    assert plan([EVENTS], {EVENTS.name: full}, 1).changes == raised, "whatever the setting says"


def test_what_is_acknowledged_waits_for_the_reassignment() -> None:
    three = as_registered(EVENTS, 3)
    moving = replace(three, configs={**three.configs, "min.insync.replicas": "1"}, in_sync=1)
    found = plan([EVENTS], {EVENTS.name: moving}, 3)
    assert found.changes == ()
    assert "1 replicas in sync" in str(found.drifts[0])
    assert plan([EVENTS], {EVENTS.name: replace(three, in_sync=2)}, 3).is_clean, "a broker that is away is no drift"


@pytest.mark.parametrize("name", RAISED_ALONG)
def test_kafkas_own_topics_are_raised_along(name: str) -> None:
    theirs = {"cleanup.policy": "compact", "segment.bytes": "104857600", "min.insync.replicas": "1"}
    one = TopicState(50, 1, theirs, frozenset({"segment.bytes"}), written=True, in_sync=1)
    assert plan(TOPICS, cluster(**{name: one}), 1).is_clean
    (drift,) = plan([], {name: one}, 3).drifts
    assert str(drift).startswith(f"{name}: 1 replicas, wanted are 3; add replicas with `streamapp cluster grow`")
    three = replace(one, replication_factor=3, in_sync=3)
    assert plan([], {name: three}, 3) == Plan((RaiseConfig(name, "min.insync.replicas", "1", "2"),))
    assert plan([], {name: replace(three, in_sync=2)}, 3).changes == ()
    two = replace(three, configs={**theirs, "min.insync.replicas": "2"})
    assert plan([], {name: two}, 3).is_clean
    assert plan([], {name: two}, 1).is_clean, "more replicas than ours are right"


def test_partitions_and_retention_are_raised() -> None:
    low = replace(with_configs(EVENTS, retention_ms="1000"), partitions=2)
    found = plan([EVENTS], {EVENTS.name: low}, 1)
    assert found.changes == (
        AddPartitions("billing_events", 2, 4),
        RaiseConfig("billing_events", "retention.ms", "1000", "2592000000"),
    )
    assert found.drifts == ()


def test_nothing_is_ever_lowered() -> None:
    high = replace(with_configs(EVENTS, retention_ms="9999999999"), partitions=9)
    found = plan([EVENTS], {EVENTS.name: high}, 1)
    assert found.changes == ()
    assert len(found.drifts) == 2
    assert "9 partitions, the registry says 4" in str(found.drifts[0])


def test_keeping_for_ever_is_longer_than_any_retention() -> None:
    found = plan([EVENTS], {EVENTS.name: with_configs(EVENTS, retention_ms="-1")}, 1)
    assert found.changes == ()
    assert len(found.drifts) == 1


def test_every_difference_is_reported_at_once() -> None:
    odd = with_configs(EVENTS, cleanup_policy="compact", retention_bytes="10")
    found = plan([EVENTS], {EVENTS.name: replace(odd, replication_factor=2, partitions=5)}, 1)
    assert found.changes == ()
    assert [drift.what.split()[0] for drift in found.drifts] == [
        "5",
        "2",
        "cleanup.policy=compact,",
        "retention.bytes=10",
    ]


def test_a_source_is_not_repartitioned_under_rows() -> None:
    have = cluster(llm_usage=replace(as_registered(USAGE), partitions=4))
    have[ROWS.name] = replace(as_registered(ROWS), partitions=4, written=True)
    found = plan(TOPICS, have, 1)
    assert found.changes == ()
    assert [drift.topic for drift in found.drifts] == [USAGE.name, ROWS.name]
    assert all("needs repartition" in str(drift) for drift in found.drifts)


def test_source_and_changelog_grow_together_while_there_is_no_row() -> None:
    have = cluster(llm_usage=replace(as_registered(USAGE), partitions=4, written=True))
    have[ROWS.name] = replace(as_registered(ROWS), partitions=4)
    assert plan(TOPICS, have, 1).changes == (AddPartitions(USAGE.name, 4, 8), AddPartitions(ROWS.name, 4, 8))


def test_a_changelog_is_not_created_smaller_than_its_source() -> None:
    have = cluster(llm_usage=replace(as_registered(USAGE), partitions=16))
    del have[ROWS.name]
    found = plan(TOPICS, have, 1)
    assert found.changes == ()
    assert [drift.topic for drift in found.drifts] == [USAGE.name, ROWS.name]


def test_rows_without_keys_follow_their_topic() -> None:
    trail, rows = topic("audit_log"), topic("audit-archive-archive-changelog")
    have = cluster(audit_log=replace(as_registered(trail), partitions=2))
    have[rows.name] = replace(as_registered(rows), partitions=2, written=True)
    assert plan(TOPICS, have, 1).changes == (AddPartitions(trail.name, 2, 4), AddPartitions(rows.name, 2, 4))


def test_rows_without_keys_follow_a_topic_that_was_raised_by_hand() -> None:
    trail, rows = topic("audit_log"), topic("audit-archive-archive-changelog")
    have = cluster(audit_log=replace(as_registered(trail), partitions=6))
    have[rows.name] = replace(as_registered(rows), written=True)
    found = plan(TOPICS, have, 1)
    assert found.changes == (AddPartitions(rows.name, 4, 6),)
    assert [drift.topic for drift in found.drifts] == [trail.name]
    del have[rows.name]
    (change,) = plan(TOPICS, have, 1).changes
    assert isinstance(change, Create)
    assert change.partitions == 6


def test_rows_of_every_table_hold_their_topic() -> None:
    letters, first = topic("dead_letter"), topic("dead-letter-monitor-letters-changelog")
    have = cluster(dead_letter=as_registered(letters))
    have[first.name] = replace(as_registered(first), written=True)
    more = [replace(item, partitions=2) if item.name == letters.name else item for item in TOPICS]
    found = plan(more, have, 1)
    assert found.changes == ()
    assert f"{first.name} has rows" in str(found.drifts[0])


def test_foreign_topics_are_not_looked_at() -> None:
    foreign = TopicState(1, 1, {"retention.ms": "1"}, frozenset({"retention.ms"}), written=True, in_sync=1)
    assert plan(TOPICS, cluster(somebody_elses=foreign), 1).is_clean


@settings(deadline=None)
@given(data=st.data())
def test_after_the_changes_no_change_is_left_and_nothing_shrank(data: st.DataObject) -> None:
    have = {
        item.name: replace(
            with_configs(item, retention_ms=str(data.draw(st.integers(-1, 10**11)))),
            partitions=data.draw(st.integers(1, 32)),
            written=data.draw(st.booleans()),
        )
        for item in data.draw(st.lists(st.sampled_from(TOPICS), unique=True))
    }
    first = plan(TOPICS, have, 1)
    after = applied(have, first)
    second = plan(TOPICS, after, 1)
    assert second.changes == ()
    assert second.drifts == first.drifts
    for name, was in have.items():
        assert after[name].partitions >= was.partitions


def applied(have: dict[str, TopicState], todo: Plan) -> dict[str, TopicState]:
    after = dict(have)
    for change in todo.changes:
        match change:
            case Create(name, partitions, replication_factor, configs):
                after[name] = TopicState(
                    partitions,
                    replication_factor,
                    dict(configs),
                    frozenset(dict(configs)),
                    written=False,
                    in_sync=replication_factor,
                )
            case AddPartitions(name, _, wanted):
                after[name] = replace(after[name], partitions=wanted)
            case RaiseConfig(name, config, _, value):
                after[name] = replace(after[name], configs={**after[name].configs, config: value})
    return after
