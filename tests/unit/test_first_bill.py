"""A closed row as the lane writes it, with its first bill: the bytes that Python writes of the same."""

from __future__ import annotations

from decimal import Decimal

import pytest

from streamapp.lane.ids import CompactSeen
from streamapp.meters.stated import BYTES_MAX
from streamapp.meters.usage import codec
from streamapp.meters.usage.lane import CompiledHours
from streamapp.meters.usage.statement import bill_id, event, has_lines
from tables.counters import Numbers
from tables.usage.hourly import HourKey, HourStatement, MonthRow, UsageRow, state
from tables.window import HOUR_MS

TEN = 482_473 * HOUR_MS
WIDE = (1 << 64) + 5
NUMBERS: tuple[Numbers, ...] = (
    (1, 0, 1, 7, 3, Decimal("0.000000000012"), 0, 1),
    (3, 2, 0, 1 << 62, 1 << 63, Decimal("123456789012345678.000000000001"), 1 << 62, 0),
    (2, 0, 0, 0, 0, Decimal("0E-12"), 0, 0),
    (5, 1, 1, WIDE, WIDE, Decimal("98765.432100000000"), WIDE, 2),
)
OWNERS = (
    ("org_1", "team_1", "USD"),
    ('o"r\\g', "te\nam\x01", "EUR"),
    ("ö" * 20, "組" * 60, "USD"),
    ("o" * 300, "t", "USDC.e"),
    ("", "\x7f/é", "AI"),
)


def closed(owner: tuple[str, str, str], models: int) -> UsageRow:
    lane = CompiledHours(CompactSeen(bytes(16)), 0, 1, 0)
    lane.open(TEN, TEN + 26 * HOUR_MS)
    for number in range(models):
        names = (f"provider {number % 3}", f'model "{9 - number}"')
        lane.add(HourKey(TEN, *owner), names, NUMBERS[number % len(NUMBERS)], 100 + number)
    (row,) = lane.close(TEN)
    return row


def in_python(row: UsageRow) -> UsageRow:
    """The same row, of which nothing is written."""
    copy = UsageRow(row.key)
    copy.lines.update(row.lines)
    copy.first_offset, copy.last_offset = row.first_offset, row.last_offset
    return copy


def stated(row: UsageRow) -> HourStatement:
    return state(row, MonthRow(Decimal("1.000000000000"), 9), TEN + HOUR_MS + 300_000)[0]


@pytest.mark.parametrize("models", [1, 2, 7, 30])
@pytest.mark.parametrize("owner", OWNERS, ids=range(len(OWNERS)))
def test_the_lane_writes_what_python_writes(owner: tuple[str, str, str], models: int) -> None:
    row = closed(owner, models)
    other = in_python(row)
    ours, theirs = stated(row), stated(other)
    assert (row.written is not None, other.written) == (True, None), "one is the lane's, the other Python's"
    assert event(ours, "llm_usage", 3) == event(theirs, "llm_usage", 3)
    assert event(ours, "llm_usage", 3)[0] == bill_id(row.key, 0)
    assert codec.stored_hour(row) == codec.stored_hour(other)
    lines = tuple((*names, line) for names, line in row.lines.items())
    assert has_lines(event(ours, "llm_usage", 3)[1], lines[::-1])
    assert not has_lines(event(ours, "llm_usage", 3)[1], lines[1:])


def test_a_bill_that_is_too_large_is_stated_with_fewer_lines() -> None:
    lane = CompiledHours(CompactSeen(bytes(16)), 0, 1, 0)
    lane.open(TEN, TEN + 26 * HOUR_MS)
    for number in range(6_000):
        lane.add(HourKey(TEN, *OWNERS[0]), ("p" * 100, f"{number} {'m' * 100}"), NUMBERS[0], number)
    (row,) = lane.close(TEN)
    assert row.written is not None
    assert len(row.written.bill) > BYTES_MAX
    billed = event(stated(row), "llm_usage", 3)
    assert billed == event(stated(in_python(row)), "llm_usage", 3)
    lines = tuple((*names, line) for names, line in row.lines.items())
    assert has_lines(billed[1], lines)
    assert not has_lines(billed[1], lines[1:])
    assert len(billed[1]) <= BYTES_MAX


def test_a_row_that_goes_on_counting_is_no_longer_what_was_written() -> None:
    row = closed(OWNERS[0], 2)
    stated(row)
    row.count(("provider 0", "late"), NUMBERS[0], 200, 10)
    assert codec.stored_hour(row) == codec.stored_hour(other := _counted(in_python(closed(OWNERS[0], 2))))
    assert event(stated(row), "llm_usage", 3) == event(stated(other), "llm_usage", 3)


def _counted(row: UsageRow) -> UsageRow:
    stated(row)
    row.count(("provider 0", "late"), NUMBERS[0], 200, 10)
    return row


def test_the_rows_of_an_hour_come_whole_however_many_they_are() -> None:
    lane = CompiledHours(CompactSeen(bytes(16)), 0, 1, 0)
    lane.open(TEN, TEN + 26 * HOUR_MS)
    teams = [f"team_{number}" for number in range(2_000)]
    for number, team in enumerate(teams):
        lane.add(HourKey(TEN, "org", team, "USD"), ("p", "m"), NUMBERS[0], number)
    rows = lane.close(TEN)
    assert [row.key.team for row in rows] == teams
    assert [row.first_offset for row in rows] == list(range(2_000))
    assert (len(lane), lane.hours) == (0, [])
