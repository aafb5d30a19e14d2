"""How far groups are behind: what each look shows, and what is remembered from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from streamapp.kafka.groups import GroupSeen, Member, Seen
from streamapp.kafka.partitions import Partition
from streamapp.watch.lag import (
    NEVER_STARTED,
    REASONS,
    SETTLED_MS,
    GroupSeries,
    Memory,
    Series,
    Unread,
    Watched,
    dates,
    step,
    unread,
    watched,
)

DAY_S = 86_400
A = ("llm_usage", 0)
B = ("llm_usage", 1)
ONE = Watched("g", "llm_usage", 1, DAY_S * 1000, markers=3)
MEMBER = Member("client", "host", b"", (A,))


def stable(committed: int | None) -> GroupSeen:
    return GroupSeen("Stable", (MEMBER,), {} if committed is None else {A: committed})


def empty(committed: int | None) -> GroupSeen:
    return GroupSeen("Empty", (), {} if committed is None else {A: committed})


class Looks:
    """One group and one partition, look after look."""

    def __init__(self, one: Watched = ONE) -> None:
        self.one, self.memory, self.now_ms = one, Memory(), 1_000_000_000

    def look(self, group: GroupSeen, start: int, end: int, at_ms: int | None = 0, after_ms: int = 15_000) -> Series:
        """`at_ms`: how long ago the first unread record was written; None: there is no timestamp."""
        self.now_ms += after_ms
        found = {} if at_ms is None else {("g", A): self.now_ms - at_ms}
        seen = Seen({"g": group}, {A: start}, {A: end}, names=frozenset())
        wanted = dates([self.one], self.memory, seen, self.now_ms)
        seen = replace(seen, dates={target: at for target, at in found.items() if wanted.asks() or wanted.found()})
        self.memory, series = step([self.one], self.memory, seen, self.now_ms)
        return series

    def unread(self, *given: Any, **options: Any) -> Unread:
        return self.look(*given, **options).groups["g"].partitions[A]


@pytest.mark.parametrize(
    ("start", "end", "committed", "lag"),
    [
        (0, 10, 7, 3),
        (0, 10, 10, 0),
        (0, 10, None, 10),
        (8, 10, None, 2),
        (8, 10, 5, 2),
        (10, 10, 5, 0),
        (0, 0, None, 0),
    ],
)
def test_lag_is_what_is_there_and_not_committed(start: int, end: int, committed: int | None, lag: int) -> None:
    assert unread(start, end, committed) == lag
    assert Looks().unread(empty(committed), start, end).lag == lag


@pytest.mark.parametrize(
    ("kafka", "committed", "state"),
    [
        ("Stable", 5, "stable"),
        ("PreparingRebalance", 5, "preparing_rebalance"),
        ("CompletingRebalance", None, "completing_rebalance"),
        ("Empty", 5, "empty"),
        ("Empty", None, NEVER_STARTED),
        ("Dead", None, NEVER_STARTED),
        ("SomethingNew", 5, ""),
    ],
)
def test_states_are_kafkas_and_one_of_ours(kafka: str, committed: int | None, state: str) -> None:
    series = Looks().look(GroupSeen(kafka, (), {} if committed is None else {A: committed}), 0, 10)
    assert (series.groups["g"].state, series.groups["g"].members) == (state, 0)


def test_age_and_time_to_loss_go_on_while_a_group_is_dead() -> None:
    looks = Looks()
    first = looks.unread(empty(7), 0, 10, at_ms=3_600_000)
    later = looks.unread(empty(7), 0, 12, at_ms=7_200_000, after_ms=3_600_000)
    assert (first.lag, first.age_s, first.to_loss_s) == (3, 3600, DAY_S - 3600)
    assert (later.lag, later.age_s, later.to_loss_s) == (5, 7200, DAY_S - 7200)
    beyond = looks.unread(empty(7), 0, 12, at_ms=2 * DAY_S * 1000)
    assert beyond.to_loss_s == 0, "whole segments expire, so a record may be older than its topic keeps"


def test_an_idle_partition_is_zero_seconds_behind_and_loses_nothing() -> None:
    found = Looks().unread(stable(10), 0, 10, at_ms=None)
    assert (found.lag, found.age_s, found.to_loss_s) == (0, 0, DAY_S)
    assert Looks().unread(stable(9), 0, 10, at_ms=-5000).age_s == 0, "a producer's clock that is ahead"


def test_records_of_a_compacted_topic_do_not_expire_by_age() -> None:
    found = Looks(ONE._replace(retention_ms=None)).unread(stable(4), 0, 10, at_ms=60_000)
    assert (found.lag, found.age_s, found.to_loss_s) == (6, 60, None)


def test_what_expires_unread_is_counted_once_and_lag_falls_to_what_is_left() -> None:
    looks = Looks()
    assert looks.unread(empty(100), 0, 1000).expired == 0
    for _ in range(2):
        found = looks.unread(empty(100), 350, 1000)
        assert (found.lag, found.expired) == (650, 250)
    assert looks.unread(empty(100), 360, 1000).expired == 260
    assert looks.unread(stable(1000), 360, 1000).expired == 260
    assert looks.unread(stable(1000), 1000, 1000).expired == 260, "these were read"
    assert looks.unread(empty(400), 1000, 1000).expired == 260, "put back: they were read once"


def test_a_group_that_was_deleted_has_read_what_it_had_committed() -> None:
    looks = Looks()
    looks.look(empty(100), 0, 1000)
    series = looks.look(GroupSeen("Dead", (), {}), 0, 1000)
    assert series.groups["g"].state == NEVER_STARTED
    assert series.groups["g"].partitions[A].lag == 1000
    assert looks.unread(GroupSeen("Dead", (), {}), 130, 1000).expired == 30


def test_what_expired_before_the_first_look_is_nobodys_loss_where_nobody_had_begun() -> None:
    looks = Looks()
    assert looks.unread(empty(None), 500, 1000).expired == 0
    assert looks.unread(empty(None), 510, 1000).expired == 10


def test_ends_of_transactions_are_not_lag_of_a_group_that_runs() -> None:
    looks = Looks()
    assert looks.unread(stable(8), 0, 10).lag == 2
    settled = looks.unread(stable(8), 0, 10, after_ms=SETTLED_MS)
    assert (settled.lag, settled.age_s, settled.to_loss_s) == (0, 0, DAY_S)
    assert looks.unread(empty(8), 0, 10, after_ms=SETTLED_MS).lag == 0, "known since it ran"
    assert looks.unread(empty(8), 0, 12).lag == 2, "what came then counts"


def test_more_than_the_ends_of_transactions_is_lag_however_long_it_waits() -> None:
    looks = Looks()
    for _ in range(3):
        assert looks.unread(stable(6), 0, 10, after_ms=SETTLED_MS).lag == 4


def test_a_group_without_members_has_not_settled() -> None:
    looks = Looks()
    for _ in range(3):
        assert looks.unread(empty(9), 0, 10, after_ms=SETTLED_MS).lag == 1


def test_a_group_that_leaves_new_records_alone_stands_still_before_all_of_them() -> None:
    looks = Looks()
    looks.look(stable(8), 0, 10)
    looks.look(stable(8), 0, 10, after_ms=SETTLED_MS)
    assert looks.unread(stable(8), 0, 11).lag == 1
    for _ in range(3):
        assert looks.unread(stable(8), 0, 11, after_ms=SETTLED_MS).lag == 3
    assert looks.unread(stable(11), 0, 11).lag == 0


def told(groups: Mapping[str, GroupSeen], starts: Mapping[Partition, int], ends: Mapping[Partition, int]) -> Series:
    return step([ONE], Memory(), Seen(groups, starts, ends, names=frozenset()), 0)[1]


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        ("denied", ({"g": GroupSeen("", problem="no", denied=True)}, {A: 0}, {A: 10})),
        ("group", ({"g": GroupSeen("", problem="away")}, {A: 0}, {A: 10})),
        ("group", ({}, {A: 0}, {A: 10})),
        ("offsets", ({"g": stable(5)}, {}, {A: 10})),
        ("offsets", ({"g": stable(5)}, {A: 0}, {})),
        ("ahead", ({"g": stable(11)}, {A: 0}, {A: 10})),
    ],
)
def test_what_is_not_known_is_absent_and_says_why(reason: str, seen: Any) -> None:
    series = told(*seen)
    assert series.groups["g"].partitions == {}
    assert series.groups["g"].growth == {}
    assert {name for name, count in series.unknown.items() if count} - {"commit"} == {reason}
    assert set(series.unknown) == set(REASONS)


def test_a_record_without_a_timestamp_has_lag_and_no_age() -> None:
    series = Looks().look(empty(5), 0, 10, at_ms=None)
    found = series.groups["g"].partitions[A]
    assert (found.lag, found.age_s, found.to_loss_s, series.unknown["timestamp"]) == (5, None, None, 1)


def test_one_unknown_partition_takes_no_other_along() -> None:
    two = ONE._replace(partitions=2)
    seen = Seen({"g": GroupSeen("Empty", (), {A: 1, B: 1})}, {A: 0, B: 0}, {A: 10}, names=frozenset())
    series = step([two], Memory(), seen, 0)[1]
    assert {partition: one.lag for partition, one in series.groups["g"].partitions.items()} == {A: 9}
    assert series.unknown["offsets"] == 1


def test_growth_is_of_the_last_minute_and_the_age_of_a_commit_of_what_was_seen() -> None:
    looks = Looks()
    series = looks.look(stable(0), 0, 100)
    one: GroupSeries = series.groups["g"]
    assert (one.growth, one.commit_age_s, series.unknown["commit"]) == ({}, None, 1)
    one = looks.look(stable(0), 0, 400, after_ms=30_000).groups["g"]
    assert one.growth == {"llm_usage": 10}
    one = looks.look(stable(400), 0, 400, after_ms=10_000).groups["g"]
    assert (one.growth, one.commit_age_s) == ({"llm_usage": -2.5}, 0)
    one = looks.look(stable(400), 0, 400, after_ms=120_000).groups["g"]
    assert (one.growth, one.commit_age_s) == ({}, 120)


def test_a_topic_that_was_made_anew_is_read_from_its_start() -> None:
    looks = Looks()
    looks.look(stable(900), 0, 1000)
    assert looks.unread(stable(3), 0, 5).lag == 2


def test_what_nobody_registered_is_named() -> None:
    names = frozenset({"billing-agg", "commerce", "a-stranger"})
    seen = Seen({}, {}, {}, topics=frozenset({"llm_usage", "__consumer_offsets", "leftover"}), names=names)
    assert step([], Memory(), seen, 0)[1].unregistered == (("topic", "leftover"), ("group", "a-stranger"))


def test_the_registry_is_watched_whole() -> None:
    assert ("billing-agg", "llm_usage", 8, 14 * DAY_S * 1000, 1) in watched()


def test_ends_of_transactions_that_expire_are_no_records_that_nobody_read() -> None:
    looks = Looks()
    looks.look(stable(10), 0, 12)
    assert looks.unread(stable(10), 0, 12, after_ms=SETTLED_MS + 1).lag == 0
    assert looks.unread(stable(10), 12, 12).expired == 0
    begun_anew = Looks()
    assert begun_anew.unread(empty(10), 12, 12).expired == 0
    assert begun_anew.unread(empty(10), 14, 14).expired == 2
    assert Looks().unread(empty(10), 14, 14).expired == 4


def test_a_topic_that_was_made_anew_while_its_group_was_ahead_begins_anew() -> None:
    looks = Looks()
    assert looks.unread(stable(12), 0, 60, at_ms=20 * 3600 * 1000).age_s == 20 * 3600
    assert looks.look(stable(12), 0, 5).unknown["ahead"] == 1
    wanted = dates([ONE], looks.memory, Seen({"g": stable(12)}, {A: 0}, {A: 300}), looks.now_ms)
    assert (wanted.found(), len(wanted.asks())) == ({}, 1), "the old topic's date is not the new record's"


def test_offsets_that_were_taken_for_ends_of_transactions_and_doubted_count_as_expired() -> None:
    looks = Looks()
    for _ in range(10):
        looks.look(stable(10), 0, 13)
    assert looks.unread(stable(10), 0, 13).lag == 0
    looks.look(stable(10), 0, 20)
    assert looks.unread(stable(10), 0, 20, after_ms=2 * SETTLED_MS).lag == 10
    assert looks.unread(stable(10), 13, 20).expired == 3


def test_a_silent_group_is_unknown_only_while_it_has_something_to_read() -> None:
    assert Looks().look(stable(10), 0, 10).unknown["commit"] == 0
    assert Looks().look(stable(10), 0, 12).unknown["commit"] == 1
    assert Looks().look(empty(10), 0, 12).unknown["commit"] == 0, "an alert of its own tells of a group without members"
