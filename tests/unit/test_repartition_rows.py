"""Which row goes where when a topic gets more partitions, and how far a move has come."""

from __future__ import annotations

from itertools import chain

import msgspec
import pytest

from streamapp.errors import Misconfigured
from streamapp.runtime import codec
from streamapp.runtime.position import StoredPosition
from streamapp.runtime.repartition_rows import copies, is_foreign, position_after, settles
from streamapp.runtime.repartition_stage import Stage, stage_of
from streamapp.topics.partitioner import partition_for
from tables.usage_hourly import HourKey, MonthKey, MonthRow, UsageRow

TEAMS = [f"team_{number}" for number in range(300)]
GROWTHS = [(8, 16), (8, 12), (4, 6), (1, 5), (6, 9)]


def rows(team: str) -> list[tuple[bytes, bytes]]:
    hour = UsageRow(HourKey(3_600_000, "org", team, "USD"))
    hour.line("openai", "gpt-4o").requests = 1
    bill = {
        "org_id": "org",
        "team_id": team,
        "data": {"period_start": "2025-01-15T10:00:00.000Z", "currency": "USD"},
    }
    return [
        (codec.hour_key(hour.key), codec.pack_hour(hour)),
        (codec.month_key(MonthKey("2025-01", "org", team, "USD")), codec.pack_month(MonthRow())),
        (codec.bill_key("evt_1"), msgspec.json.encode(bill)),
    ]


def at(partitions: int, watermark_ms: int = 100, expired_ms: int = 10, moved_ms: int = -1) -> StoredPosition:
    return StoredPosition(7, watermark_ms, expired_ms, "topic", partitions, 50, moved_ms)


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_teams_rows_go_where_its_events_go(old: int, new: int) -> None:
    for team in TEAMS:
        before, after = (partition_for(team.encode(), count) for count in (old, new))
        for key, value in rows(team):
            assert not is_foreign(key, value, before, old)
            assert is_foreign(key, value, before, new) == (before != after)
            assert list(copies(key, value, before, old, new)) == ([] if before == after else [(after, key)])


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_ids_go_wherever_a_team_may_have_gone(old: int, new: int) -> None:
    key = codec.ids_key(123)
    for partition in range(old):
        told = {target for target, _ in copies(key, b"", partition, old, new)} | {partition}
        teams = [team for team in TEAMS if partition_for(team.encode(), old) == partition]
        assert {partition_for(team.encode(), new) for team in teams} <= told


def test_copied_ids_meet_no_others_and_keep_their_keys() -> None:
    edges = (0, 1, 5000, (1 << 44) - 1)
    made = [
        (target, key)
        for partition in (0, 1, 9, 15)
        for offset in edges
        for target, key in copies(codec.ids_key(offset), b"", partition, 16, 32)
    ]
    assert len({key for _, key in made}) == len(made) == 16
    assert all(codec.unpack_ids_key(key) < -1 for _, key in made)
    target, key = made[0]
    again = list(copies(key, b"", target, 32, 64))
    assert {other for other, _ in again} == {48}, "not to where it is, and not back to its owner, whose offset it is"
    assert {copy for _, copy in again} == {key}
    assert [other for other, _ in copies(key, b"", 16, 17, 18)] == [other for other in range(1, 18) if other != 16]


def test_a_record_that_came_by_the_new_number_is_told_from_one_that_did_not() -> None:
    keys = [team.encode() for team in TEAMS]
    assert not any(settles(key, partition_for(key, 16), 8, 16) for key in keys if partition_for(key, 16) < 8)
    moved = [key for key in keys if partition_for(key, 12) != partition_for(key, 8)]
    assert moved
    for key in moved:
        assert settles(key, partition_for(key, 12), 8, 12)
        assert not settles(key, partition_for(key, 8), 8, 12)
    assert not settles(None, 0, 8, 12)


def test_old_partitions_go_on_and_new_ones_begin_with_the_watermark_of_their_rows() -> None:
    positions = {number: at(4, 100 + number, 10 + number) for number in range(4)}
    assert position_after(1, positions, "topic", 4, 8) == at(8, 101, 11)
    assert position_after(5, positions, "topic", 4, 8) == StoredPosition(0, 101, 11, "topic", 8, 50, 101)


def test_where_rows_come_from_several_the_slowest_counts() -> None:
    positions = {0: at(4, 100, 10), 1: at(4, 5, 1), 2: at(4, 300, 3, moved_ms=400), 3: at(4, -1, -1)}
    assert position_after(4, positions, "topic", 4, 6) == StoredPosition(0, 100, 3, "topic", 6, 50, 400)
    assert position_after(0, positions, "topic", 4, 6) == at(6, 100, 3, moved_ms=400)
    assert position_after(5, positions, "topic", 4, 6) == StoredPosition(0, 5, 1, "topic", 6, 50, 5)
    sealed = {number: position_after(number, positions, "topic", 4, 6) for number in (0, 1, 2, 3)}
    assert position_after(4, positions | sealed, "topic", 4, 6).watermark_ms == 100, "the same when some are sealed"


def test_partitions_that_never_counted_anything() -> None:
    assert position_after(2, {}, "topic", 2, 4) == StoredPosition(0, -1, -1, "topic", 4, 0)


@pytest.mark.parametrize(
    ("counts", "changelog", "topic", "stage"),
    [
        ([8, 8], 8, 8, Stage(8, 8, False)),
        ([], 8, 8, Stage(8, 8, False)),
        ([8, 8], 8, 16, Stage(8, 16, False)),
        ([], 8, 16, Stage(8, 16, False)),
        ([8, 8], 16, 16, Stage(8, 16, False)),
        ([8, -16], 16, 16, Stage(8, 16, True)),
        ([-16, -16], 16, 16, Stage(16, 16, True)),
        ([-16, 16], 16, 24, Stage(16, 16, True)),
        ([16, 16], 16, 24, Stage(16, 24, False)),
    ],
)
def test_how_far_a_move_has_come(counts: list[int], changelog: int, topic: int, stage: Stage) -> None:
    assert stage_of(map(at, counts), changelog, topic) == stage


@pytest.mark.parametrize("counts", [[8, 16], [8, 9], [24], [-16, -12], [8, -16, 16], [-24]])
def test_what_no_move_leads_to_is_refused(counts: list[int]) -> None:
    with pytest.raises(Misconfigured, match="no move leads there"):
        stage_of(map(at, chain(counts)), 16, 16)
