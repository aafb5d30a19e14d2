"""Recomputing one partition: what differs from the log is put right, whatever cannot be judged is left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import click
import msgspec
import pytest
from letters_log import refusal as dead_letter
from recounts import compared, land, published
from usage_log import DIRECTORY, Rec, Table, at, event

from streamapp.cli.moment import Moment
from streamapp.cli.tables.replay import Offsets, signed
from streamapp.cli.tables.talk import unreadable
from streamapp.dead_letters.read import refusal
from streamapp.exact.correction import Comparison
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Record
from streamapp.meters.registry import declared
from streamapp.meters.usage import codec
from streamapp.replay.offsets import Move, Where, _marks
from streamapp.replay.recompute import Refusals, money, refusals_of
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.store.position import POSITION_KEY, pack_position
from streamapp.store.rows import stored_position
from tables.usage.hourly import HourKey, UsageRow

HOURS = declared("usage_hourly").correction
WALL = "2025-01-20T00:00"


def day() -> Table:
    """Offsets 0 and 1 in hour 10, 2 and 3 (no org) in hour 11, 4 closes both hours, 5 is open in hour 12."""
    table = Table()
    table.apply(
        event("10:00", cost="1"),
        event("10:30", cost="0.1", model="zen"),
        event("11:00", cost="2"),
        event("11:30", "team_listed", org=None, cost="4"),
        event("12:06", "team_b", cost="8"),
        event("12:07", cost="16"),
    )
    return table


@contextmanager
def listed(org: str | None) -> Iterator[None]:
    """The directory says another org for team_listed meanwhile; None: it does not know the team."""
    before = DIRECTORY.pop("team_listed")
    if org is not None:
        DIRECTORY["team_listed"] = org
    try:
        yield
    finally:
        DIRECTORY["team_listed"] = before


def recompute(
    table: Table, start: int = 0, upto: int | None = None, refused: frozenset[int] | None = None
) -> Comparison:
    """The table beside a shadow of the log from `start` on, but for the refused."""
    refused = refused or frozenset(refusal.record.offset for outcome in table.outcomes for refusal in outcome.refusals)
    task = table.task
    return compared(
        HOURS, task, table.rules, table.log, start, upto=upto, refused=refused, admission=task.memory.admission
    )


def publish(table: Table, found: Comparison) -> list[dict[str, Any]]:
    """Put the table right as a recomputation does; what was stated."""
    transaction = published(HOURS, found, at(WALL))
    table.restart()
    return [json.loads(send.value or b"") for send in transaction.sends]


def plant(table: Table, when: str, team: str = "team_a", org: str = "org_a", **change: Any) -> UsageRow:
    """Change a line of a stored row, behind the ledger's back."""
    key = codec.hour_key(HourKey(at(when), org, team, "USD"))
    value = table.store.get(key)
    row = UsageRow(HourKey(at(when), org, team, "USD")) if value is None else codec.unpack_hour(key, value)
    if value is None:
        row.first_offset = row.last_offset = 2
    line = row.line("openai", "gpt-4o")
    for name, number in change.items():
        setattr(line, name, number)
    table.store.write({key: codec.pack_hour(row)}, table.store.checkpoint() + 1)
    table.restart()
    return row


def test_a_table_that_is_right_changes_in_nothing() -> None:
    table = day()
    found = recompute(table)
    assert (found.compared, found.changes, found.out_of_reach, found.contradicted) == (5, [], 0, 0)


def test_hours_of_a_batch_that_was_counted_and_cannot_be_read_today_are_left_alone() -> None:
    table = day()
    lost = UnreadableBatch.of(b"", 2, 3, "does not match its checksum")
    table.log[2:4] = [replace(table.log[3], key=None, value=lost)]
    found = recompute(table)
    assert (found.compared, found.changes, found.contradicted) == (3, [], 2)


def test_a_batch_with_a_letter_stays_refused_whether_it_can_be_read_today_or_not() -> None:
    table = Table()
    table.apply(event("10:00", cost="1"))
    batch = UnreadableBatch.of(b"", 1, 2, "unpacks to more than 1 bytes")
    lost, behind = replace(event("10:10"), key=None, value=batch, offset=2), replace(event("11:05", "team_b"), offset=3)
    table.log += lost, behind
    table.apply(lost, behind)
    assert recompute(table, refused=frozenset((1, 2))).changes == []
    table.log[1:2] = [replace(event("10:10"), offset=1), replace(event("10:11"), offset=2)]
    assert recompute(table, refused=frozenset((1, 2))).changes == []


def test_a_bill_that_was_stated_from_a_wrong_row_is_revised() -> None:
    table = Table()
    table.apply(event("10:00", cost="1"), event("10:30", cost="0.1", model="zen"))
    plant(table, "10:00", cost=Decimal("7.100000000000"), prompt_tokens=99)
    table.apply(event("11:05", "team_b"))
    found = recompute(table)
    assert money([found]) == {"USD": Decimal("-6.1")}
    (bill,) = publish(table, found)
    data = bill["data"]
    assert (bill["type"], data["revision"], bill["timestamp"]) == ("billing.usage.revised", 1, f"{WALL}:00.000Z")
    assert (data["totals"]["cost"], data["delta"]["cost"]) == ("1.100000000000", "-6.100000000000")
    assert data["running_total"]["cost"] == "1.100000000000"
    assert data["coverage"] == {
        "topic": "llm_usage",
        "partition": 0,
        "first_offset": 0,
        "last_offset": 1,
        "events": 2,
    }
    assert recompute(table).changes == [], "the second run finds it right"


def test_a_wrong_row_of_an_hour_that_was_billed_rightly_is_put_right_in_silence() -> None:
    table = day()
    plant(table, "11:00", cost=Decimal("7.000000000000"), requests=3)
    found = recompute(table)
    assert money([found]) == {"USD": Decimal(0)}
    assert publish(table, found) == []
    assert recompute(table).changes == []
    assert table.task.memory.unsettled.pending == {}, "nothing waits for a mark"


def test_an_open_hour_is_replaced_and_stated_when_it_closes() -> None:
    table = day()
    plant(table, "12:00", cost=Decimal("1.000000000000"), requests=9)
    found = recompute(table)
    assert publish(table, found) == []
    (bill,) = [one for one in table.apply(event("13:05", "team_b")).statements if one.key.team == "team_a"]
    assert (bill.totals.requests, bill.totals.cost, bill.revision) == (1, Decimal(16), 0)


def test_usage_of_a_team_that_belongs_to_another_org_moves_there() -> None:
    table = day()
    with listed("org_new"):
        found = recompute(table)
        assert [(change.key.org, change.money[1]) for change in found.changes] == [
            ("org_listed", Decimal(-4)),
            ("org_new", Decimal(4)),
        ]
        old, new = publish(table, found)
        assert recompute(table).changes == []
    assert (old["org_id"], old["data"]["revision"], old["data"]["lines"]) == ("org_listed", 1, [])
    assert old["data"]["totals"]["cost"] == old["data"]["running_total"]["cost"] == "0.000000000000"
    assert (old["data"]["coverage"]["first_offset"], old["data"]["coverage"]["events"]) == (3, 0)
    assert (new["org_id"], new["type"], new["data"]["supersedes"]) == ("org_new", "billing.usage.hourly", None)
    assert recompute(table).changes, "and back again"
    back = publish(table, recompute(table))
    assert [(bill["org_id"], bill["data"]["revision"]) for bill in back] == [("org_listed", 2), ("org_new", 1)]
    assert back[0]["data"]["coverage"]["first_offset"] == 3
    assert recompute(table).changes == []


def test_what_comes_to_an_hour_that_was_emptied_is_covered_from_there_on() -> None:
    table = day()
    with listed("org_new"):
        publish(table, recompute(table))
    offset = len(table.log)
    table.apply(event("11:40", "team_listed", org=None))
    (bill,) = table.apply(event("12:10", "team_b")).statements
    assert (bill.key.org, bill.revision, bill.first_offset, bill.events) == ("org_listed", 2, offset, 1)


def test_a_recomputation_that_was_ended_goes_on_with_what_is_left() -> None:
    plain, ended = day(), day()
    with listed("org_new"):
        whole = publish(plain, recompute(plain))
        found = recompute(ended)
        first = HOURS.correct(found.changes[:1], found.kept, at(WALL))
        land(ended.store, first)
        ended.restart()
        left = recompute(ended)
        assert len(left.changes) == len(found.changes) - 1 == 1
        assert [json.loads(first.sends[0].value or b""), *publish(ended, left)] == whole


def test_usage_that_was_pending_is_stated_along_with_the_correction() -> None:
    table = day()
    table.apply(event("11:10", cost="0.5"))  # late, waits for 12:10
    plant(table, "11:00", prompt_tokens=1000)
    found = recompute(table)
    (bill,) = publish(table, found)
    assert (bill["data"]["totals"]["requests"], bill["data"]["delta"]["cost"]) == (2, "0.500000000000")
    assert table.task.memory.unsettled.pending == {}


def test_an_hour_that_nobody_has_used_and_nobody_has_billed_is_dropped() -> None:
    table = day()
    plant(table, "12:00", "team_x", requests=5)
    found = recompute(table)
    assert publish(table, found) == []
    assert table.store.get(codec.hour_key(HourKey(at("12:00"), "org_a", "team_x", "USD"))) is None


def test_hours_that_begin_before_the_range_are_left_alone() -> None:
    table = day()
    plant(table, "10:00", cost=Decimal(99), requests=9)
    plant(table, "11:00", cost=Decimal(99), requests=9)
    found = recompute(table, start=1)
    assert [change.key.start_ms for change in found.changes] == [at("11:00")]
    assert (found.compared, found.out_of_reach) == (4, 1)


def test_records_that_the_log_has_lost_leave_their_hours_alone() -> None:
    found = recompute(day(), start=3, upto=3)
    assert (found.compared, found.out_of_reach, found.changes) == (3, 2, [])


def test_an_hour_whose_usage_moves_only_in_part_is_left_alone() -> None:
    """Events of one hour on both sides of the range's start: the new org would get the rest, the old one keep all."""
    table = day()
    table.apply(event("11:50", "team_listed", org=None, cost="32"))
    with listed("org_new"):
        found = recompute(table, start=6, upto=6)
    assert found.changes == []
    assert found.out_of_reach >= 2


def test_what_was_refused_stays_refused() -> None:
    table = day()
    refused = table.apply(event("12:08", "team_stranger", org=None), Rec(b"team_a", b"{", at("12:09")))
    assert len(refused.refusals) == 2
    DIRECTORY["team_stranger"] = "org_found"
    try:
        assert recompute(table).changes == [], "its dead letter is its way back"
    finally:
        del DIRECTORY["team_stranger"]


def test_hours_with_events_that_would_be_refused_now_are_left_alone() -> None:
    table = day()
    plant(table, "12:00", cost=Decimal(1))
    with listed(None):
        found = recompute(table)
    assert (found.contradicted, len(found.changes), found.compared) == (1, 1, 4)


def test_hours_that_a_move_of_the_table_brought_are_out_of_reach() -> None:
    table = day()
    position = stored_position(table.store)
    assert position is not None
    moved = msgspec.structs.replace(position, moved_ms=at("11:00"))
    table.store.write({POSITION_KEY: pack_position(moved)}, table.store.checkpoint() + 1)
    table.restart()
    assert (recompute(table).compared, recompute(table).out_of_reach) == (2, 3)
    table.apply(event("12:09"))
    kept = stored_position(table.store)
    assert kept is not None
    assert kept.moved_ms == at("11:00"), "every chunk keeps it"


def test_repeats_count_once_and_months_add_up() -> None:
    table = Table()
    table.apply(event("2025-01-31T23:00", id="one", cost="1"), event("2025-02-01T00:00", cost="2"))
    table.apply(replace(table.log[0], offset=-1), event("2025-02-01T01:05", cost="4"))
    assert recompute(table).changes == []
    plant(table, "2025-01-31T23:00", cost=Decimal(9))
    plant(table, "2025-02-01T00:00", cost=Decimal(9))
    table.apply(event("2025-01-31T23:10", cost="1"), event("2025-02-01T00:10", cost="1"))
    table.apply(event("2025-02-01T01:10", cost="1"))
    first, second = publish(table, recompute(table))
    assert first["data"]["running_total"] == {"month": "2025-01", "cost": "2.000000000000", "total_tokens": 30}
    assert second["data"]["running_total"]["cost"] == "3.000000000000"
    assert recompute(table).changes == []


@pytest.mark.parametrize(
    ("amount", "text"),
    [("3.41", "+ 3.41 USD"), ("-0.000000000001", "- 0.000000000001 USD"), ("12345", "+ 12,345.00 USD")],
)
def test_sums_are_shown_exactly(amount: str, text: str) -> None:
    assert signed(Decimal(amount), "USD") == text


def test_where_to() -> None:
    assert Offsets().convert("7", None, None) == Where(offset=7)
    assert Offsets().convert("0:7,3:1", None, None) == Where(offsets={0: 7, 3: 1})
    assert Moment().convert("2025-01-15T10:00:00+01:00", None, None) == at("09:00")
    assert Moment().convert("2025-01-15T10:00:00", None, None) == at("10:00")
    with pytest.raises(click.BadParameter, match="neither an offset"):
        Offsets().convert("0:", None, None)
    with pytest.raises(click.BadParameter, match="not a time"):
        Moment().convert("last week", None, None)


def test_a_move_never_goes_ahead() -> None:
    assert [Move(0, 0, committed, 5).records for committed in (None, 5, 8)] == [0, 0, 3]


# -- dead letters ----------------------------------------------------------------------------------------------------


def dead(**changed: object) -> bytes:
    letter = json.loads(dead_letter(17))
    letter["data"] |= {"source_partition": 3, **changed}
    return json.dumps(letter).encode()


def refused_by(table: str, *values: bytes) -> Refusals:
    records = [Record("dead_letter", 0, offset, 0, b"", value) for offset, value in enumerate(values)]
    return refusals_of(declared(table), map(refusal, records))


def test_what_says_nothing_on_dead_letter_is_counted_and_the_others_stand() -> None:
    batch = UnreadableBatch.of(bytes(70), 0, 4, "does not match its checksum")
    no_text = dead(source_offset=1).replace(b"llm_usage", b"llm_\xff")
    found = refused_by("usage_hourly", batch, no_text, dead(), dead(source_offset=20, source_last_offset=22))
    assert found == Refusals({3: frozenset((17, 20, 21, 22))}, 2)
    assert unreadable(found.unreadable).strip().startswith("2 records on dead_letter cannot be read: ")
    assert unreadable(0) == ""


def test_refusals_of_others_are_not_the_table_s() -> None:
    strangers = (
        dead(group="llm-metrics"),
        dead(group=None, producer="billing-agg"),
        dead(source_topic="rpc_metering"),
        dead(source_partition=None, source_offset=None),
    )
    assert refused_by("usage_hourly", *strangers) == Refusals({}, 0)


def test_bytes_that_nobody_needs_are_not_decoded() -> None:
    assert refused_by("usage_hourly", dead(value_b64="?")) == Refusals({3: frozenset((17,))}, 0)


# -- where to --------------------------------------------------------------------------------------------------------


class Marks:
    """An open transaction began at offset 5; the newest record is 8."""

    def __init__(self, found: int) -> None:
        self.found = found

    def start_offsets(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 0)

    def end_offsets(self, places: list[tuple[str, int]], committed: bool) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 5 if committed else 9)

    def offsets_at(self, places: list[tuple[str, int]], at_ms: int) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, self.found)


@pytest.mark.parametrize(("found", "to"), [(-1, 5), (3, 3), (8, 5)])
def test_a_moment_is_never_behind_the_last_stable_offset(found: int, to: int) -> None:
    admin = cast(Admin, Marks(found))
    assert _marks(admin, "llm_usage", [0], Where(at_ms=1)) == ({0: 0}, {0: to})
