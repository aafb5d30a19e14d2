"""Which row goes where when a topic gets more partitions, and how far a move has come."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamapp.errors import Misconfigured, Refused
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.situation import Source
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.settled import send
from streamapp.meters.latency.codec import LATENCY, pack_tally, total_key
from streamapp.meters.letters.codec import LETTERS
from streamapp.meters.usage import codec
from streamapp.meters.usage.store import USAGE
from streamapp.replay.repartition import repartition
from streamapp.replay.repartition_rows import copies, is_foreign, position_after, settles
from streamapp.replay.repartition_stage import Stage, stage_of
from streamapp.settings import Settings
from streamapp.store.ids import ids_key, unpack_ids_key
from streamapp.store.position import StoredPosition
from streamapp.topics.partitioner import partition_for
from tables.calls.settlement import Account, AccountRow, CallsKey, HourCalls, Payment, settle
from tables.latency.tally import Series, Tally
from tables.seen import Held
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow
from tables.window import HOUR_MS

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


def at(
    partitions: int, watermark_ms: int = 100, expired_ms: int = 10, moved_ms: int = -1, closed_ms: int = -1
) -> StoredPosition:
    return StoredPosition(7, watermark_ms, expired_ms, "topic", partitions, 50, moved_ms, None, closed_ms)


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_teams_rows_go_where_its_events_go(old: int, new: int) -> None:
    for team in TEAMS:
        before, after = (partition_for(team.encode(), count) for count in (old, new))
        for key, value in rows(team):
            assert not is_foreign(USAGE, key, value, before, old)
            assert is_foreign(USAGE, key, value, before, new) == (before != after)
            moved = [] if before == after else [(after, key, value)]
            assert list(copies(USAGE, key, value, before, old, new)) == moved


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_ids_go_wherever_a_team_may_have_gone(old: int, new: int) -> None:
    key = ids_key(123)
    for partition in range(old):
        told = {target for target, _, _ in copies(LATENCY, key, b"", partition, old, new)} | {partition}
        teams = [team for team in TEAMS if partition_for(team.encode(), old) == partition]
        assert {partition_for(team.encode(), new) for team in teams} <= told


def test_copied_ids_meet_no_others_and_keep_their_keys() -> None:
    edges = (0, 1, 5000, (1 << 44) - 1)
    made = [
        (target, key)
        for partition in (0, 1, 9, 15)
        for offset in edges
        for target, key, _ in copies(USAGE, ids_key(offset), b"", partition, 16, 32)
    ]
    assert len({key for _, key in made}) == len(made) == 16
    assert all(unpack_ids_key(key) < -1 for _, key in made)
    target, key = made[0]
    again = list(copies(USAGE, key, b"ids", target, 32, 64))
    assert again == [(48, key, b"ids")], "not to where it is, and not back to its owner, whose offset it is"
    others = [other for other, _, _ in copies(USAGE, key, b"", 16, 17, 18)]
    assert others == [other for other in range(1, 18) if other != 16]


def test_an_account_goes_where_its_agents_calls_go_and_the_next_call_there_is_its_newest() -> None:
    paid, account = Payment("hanzo", 1, None, None), Account("org", "agent_1", "consumer", "AI")
    hour, row = HourCalls(CallsKey(3_600_000, account)), AccountRow(account)
    for calls in (hour, row.wait(0)):
        calls.method("chat.send").add(1, Decimal("0.2"))
        calls.cover(700, 900, paid._replace(chain="old"))
    place = Place("rpc-billing", "agent_rpc_metering", 1, "topic-id", 8, {"billing_events": 4})
    settled, _ = send(settle(row, 3_600_000, 0), place, "billing_events")
    row.wait(0).absorb(hour)
    stored = [
        (rpc_codec.hour_key(hour.key), rpc_codec.pack_hour(hour)),
        (rpc_codec.account_key(account), rpc_codec.pack_account(row)),
        (rpc_codec.settlement_key("evt_1"), settled.value or b""),
    ]
    before, after = (partition_for(b"agent_1", count) for count in (8, 12))
    moved = [list(copies(rpc_codec.RPC, key, value, before, 8, 12)) for key, value in stored]
    assert [[(to, key) for to, key, _ in one] for one in moved] == [[(after, key)] for key, _ in stored]
    assert before != after
    here = rpc_codec.unpack_account(stored[1][0], moved[1][0][2])
    assert (here.pending.count, here.pending.amount, here.owes) == (1, Decimal("0.2"), True)
    here.wait(0).absorb(rpc_codec.unpack_hour(stored[0][0], moved[0][0][2]))
    assert settle(rpc_codec.unpack_account(stored[1][0], moved[1][0][2]), 7_200_000, 0).first_offset == 700
    here.pending.cover(3, 3, paid)
    settlement = settle(here, 7_200_000, 0)
    assert (settlement.calls, settlement.payment, settlement.first_offset, settlement.last_offset) == (2, paid, 3, 3)


def test_rows_that_add_up_stay_where_they_are() -> None:
    total = total_key(Series("openai", "gpt-4o", True))
    assert list(copies(LATENCY, total, pack_tally(Tally()), 1, 8, 16)) == []
    assert not is_foreign(LATENCY, total, b"", 1, 16)
    assert LATENCY.how_to_grow == "move it with `streamapp repartition --table latency`"
    assert "streamapp" not in LETTERS.how_to_grow


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
    assert position_after(5, positions, "topic", 4, 8) == StoredPosition(0, 101, 11, "topic", 8, 50, 101, None, HOUR_MS)


def test_where_rows_come_from_several_the_slowest_counts() -> None:
    positions = {0: at(4, 100, 10), 1: at(4, 5, 1), 2: at(4, 300, 3, moved_ms=400), 3: at(4, -1, -1)}
    assert position_after(4, positions, "topic", 4, 6) == StoredPosition(0, 100, 3, "topic", 6, 50, 400, None, HOUR_MS)
    assert position_after(0, positions, "topic", 4, 6) == at(6, 100, 3, moved_ms=400, closed_ms=HOUR_MS)
    assert position_after(5, positions, "topic", 4, 6) == StoredPosition(0, 5, 1, "topic", 6, 50, 5, None, HOUR_MS)
    positions[2] = at(4, 300, 3, moved_ms=400, closed_ms=9 * HOUR_MS)
    assert position_after(0, positions, "topic", 4, 6).closed_ms == 9 * HOUR_MS
    sealed = {number: position_after(number, positions, "topic", 4, 6) for number in (0, 1, 2, 3)}
    assert position_after(4, positions | sealed, "topic", 4, 6).watermark_ms == 100, "the same when some are sealed"


def test_ids_that_a_partition_holds_are_held_wherever_they_go() -> None:
    holds = (Held(10, 20), Held(30, 40)), (Held(15, 25), Held(40, 50))
    positions = {number: msgspec.structs.replace(at(2), held=held) for number, held in enumerate(holds)}
    held = (Held(10, 25), Held(30, 40), Held(40, 50))
    assert position_after(0, positions, "topic", 2, 3).held == held
    assert position_after(2, positions, "topic", 2, 3).held == held
    assert position_after(2, positions, "topic", 2, 4).held == positions[0].held, "only of those whose ids it gets"


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


def test_a_table_without_homes_is_left_alone(tmp_path: Path) -> None:
    source = Source("dead-letter-monitor", "dead_letter", LETTERS, "dead-letter-monitor-letters-changelog", ())
    with pytest.raises(Refused, match="its rows cannot follow; start a new table"):
        asyncio.run(repartition(source, Settings(), never_made, tmp_path, lambda: 0))


def never_made(*args: Any) -> Any:
    """No task of it is needed."""
    raise AssertionError
