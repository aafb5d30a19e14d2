"""An event id counts once, from its first arrival until at least 24 hours after its hour closed (decision 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from memory_store import UsageStore
from usage_log import Rec, Table, clock, event, refused, stated

from streamapp.meters.usage.store import USAGE
from streamapp.store.ids import unpack_ids_key
from streamapp.store.rows import stored_position


def ids_rows(table: Table) -> list[int]:
    assert isinstance(table.store, UsageStore)
    return [unpack_ids_key(key) for key, _ in table.store.scan(b"i", b"j")]


def again(record: Rec) -> Rec:
    """The same bytes at the log's end."""
    return replace(record, offset=-1)


@pytest.mark.parametrize("border", ["none", "chunk", "restart"])
def test_the_same_bytes_count_once(border: str) -> None:
    table = Table()
    first = event("10:30")
    if border == "none":
        outcome = table.apply(first, again(first))
    else:
        table.apply(first)
        if border == "restart":
            table.restart()
        outcome = table.apply(again(first))
    assert (outcome.duplicates, outcome.refusals) == (1, [])
    assert stated(table.apply(event("11:05"))) == ["10:00 team_a r0: 1 at 11:05"]


@pytest.mark.parametrize("border", ["none", "chunk", "restart"])
def test_other_bytes_under_the_same_id_are_refused_and_the_first_counts(border: str) -> None:
    table = Table()
    first, other = event("10:30", id="x", cost="0.1"), event("10:30", id="x", cost="0.2")
    if border == "none":
        outcome = table.apply(first, other, again(first))
    else:
        table.apply(first)
        if border == "restart":
            table.restart()
        outcome = table.apply(other, again(first))
    assert refused(outcome) == [(1, "conflicting_duplicate")]
    assert outcome.duplicates == 1
    (bill,) = table.apply(event("11:05")).statements
    assert str(bill.totals.cost) == "0.100000000000"


def test_a_conflicting_duplicate_moves_no_watermark() -> None:
    table = Table()
    outcome = table.apply(event("10:30", id="x"), event("11:30", id="x"))
    assert (refused(outcome), stated(outcome)) == ([(1, "conflicting_duplicate")], [])


def test_ids_are_one_namespace_for_all_teams_of_a_partition() -> None:
    table = Table()
    assert refused(table.apply(event("10:30", "team_a", id="x"), event("10:30", "team_b", id="x"))) == [
        (1, "conflicting_duplicate")
    ]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("watermark", "remembered"),
    [
        ("2025-01-16T11:05", True),  # 24 hours after the close: the least that is promised
        ("2025-01-16T11:59:59.999", True),
        ("2025-01-16T12:00", False),  # the full hour after that
    ],
)
def test_an_id_is_remembered_until_a_full_hour_24_hours_after_its_hour_closed(
    restart: bool, watermark: str, remembered: bool
) -> None:
    table = Table()
    first = event("10:59:59.999")
    table.apply(first, event("11:05"))
    table.apply(event(watermark))
    if restart:
        table.restart()
    assert table.apply(again(first)).duplicates == int(remembered)


def test_a_late_id_is_remembered_24_hours_from_its_arrival() -> None:
    table = Table()
    late = event("10:30")
    table.apply(event("20:30"), late)
    table.apply(event("2025-01-16T20:59:59"), again(late))
    assert table.outcomes[-1].duplicates == 1
    table.apply(event("2025-01-16T21:00"), again(late))
    assert table.outcomes[-1].duplicates == 0


def test_an_id_that_is_forgotten_in_the_middle_of_a_chunk_counts_from_there() -> None:
    table = Table()
    first = event("10:30")
    outcome = table.apply(
        first, event("11:05"), event("2025-01-16T11:59"), again(first), event("2025-01-16T12:00"), again(first)
    )
    assert (outcome.accepted, outcome.duplicates) == (5, 1)
    (late,) = [one for one in table.apply(event("2025-01-16T12:05")).statements if one.revision == 1]
    assert late.events == 2


@pytest.mark.parametrize("restart", [False, True])
def test_an_id_counted_anew_after_it_was_forgotten_stays_remembered(restart: bool) -> None:
    table = Table()
    first = event("10:30")
    table.apply(
        first, event("11:05"), event("14:30")
    )  # a chunk whose ids are forgotten at different times: its row stays
    table.apply(event("2025-01-16T12:00"))
    assert table.apply(again(first)).accepted == 1
    if restart:
        table.restart()
    assert table.apply(again(first)).duplicates == 1


def test_ids_are_stored_under_their_chunk_s_first_new_offset() -> None:
    table = Table()
    table.apply(event("10:00"), event("10:01"))
    table.apply(Rec(None, b"?", 0), event("10:02"))
    table.apply(Rec(None, b"?", 0))  # nothing counted, no row
    table.apply(*table.log[3:], event("10:03"))  # the first two were applied before
    assert ids_rows(table) == [0, 2, 5]


def test_a_chunk_s_ids_go_when_the_last_of_them_is_forgotten() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:05"), event("12:30"))
    table.apply(event("13:05"))
    table.apply(event("2025-01-16T12:00"))
    assert ids_rows(table) == [0, 3, 4]
    table.restart()
    table.apply(event("2025-01-16T14:00"))
    assert ids_rows(table) == [3, 4, 5]


def test_ids_that_expire_within_their_chunk_leave_no_row() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:05"), event("2025-01-17T10:30"), Rec(None, b"?", 0))
    ((_, counts),) = [USAGE.readable(key, value) for key, value in table.store.scan(b"i", b"j")]
    assert [clock(expiry_ms) for expiry_ms in counts] == ["2025-01-16T13:00", "2025-01-18T12:00"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("watermark", "remembered"),
    [("2025-01-19T10:31", True), ("2025-01-19T10:59", True), ("2025-01-19T11:00", False)],
)
def test_an_id_of_an_hour_that_a_jump_closes_is_remembered_24_hours_from_the_jump(
    restart: bool, watermark: str, remembered: bool
) -> None:
    table = Table()
    first = event("10:30")
    table.apply(first)  # the partition's first event is days late
    table.apply(event("2025-01-18T10:30"))
    if restart:
        table.restart()
    assert table.apply(again(first)).duplicates == 1
    table.apply(event("2025-01-18T11:05"))
    table.apply(event(watermark))
    if restart:
        table.restart()
    assert table.apply(again(first)).duplicates == int(remembered)


def test_jumps_one_after_the_other_hold_each_its_own_ids() -> None:
    table = Table()
    early, middle, last = event("10:30"), event("2025-01-18T10:30"), event("2025-01-20T10:30")
    table.apply(early, middle, last)
    table.restart()
    assert table.apply(again(middle), again(last), again(early)).duplicates == 2, "24 hours after the first jump"
    table.apply(event("2025-01-20T11:05"))
    table.apply(event("2025-01-21T10:59"))
    assert table.apply(again(middle)).duplicates == 1
    table.apply(event("2025-01-21T11:00"))
    assert table.apply(again(middle)).duplicates == 0
    assert table.apply(again(last)).duplicates == 1
    table.apply(event("2025-01-21T12:00"))
    assert table.apply(again(last)).duplicates == 0
    position = stored_position(table.store)
    assert position is not None
    assert [clock(held.until_ms) for held in position.held] == ["2025-01-22T11:00"]
