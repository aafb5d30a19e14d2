"""The table of latencies recomputed: spoiled rows are what the log says again, a right table changes in nothing."""

from __future__ import annotations

import pytest
from latency_log import LatencyTable
from recounts import compared, published
from usage_log import Rec, at, make_admission, value

from streamapp.exact.correction import Comparison
from streamapp.meters.latency import codec
from streamapp.meters.latency.parts import latency_parts
from streamapp.meters.latency.table import TABLE
from tables.window import HOUR_MS, Rules

RULES = Rules(retention_ms=30 * HOUR_MS)
BEGIN_MS = at("10:00")
KINDS = (b"h", b"m", b"t")  # rows that count: windows of hours and minutes, totals
CALLS = 12


def call(number: int) -> Rec:
    """Four calls an hour, of two models."""
    at_ms = BEGIN_MS + number * HOUR_MS // 4
    model = "o1" if number % 3 else "gpt-4o"
    return Rec(b"team_a", value(f"id-{number}", at_ms, model=model, more='"latency_ms":90'), at_ms)


def counted() -> LatencyTable:
    table = LatencyTable(RULES)
    for first in range(0, CALLS, 5):
        table.apply(*map(call, range(first, min(first + 5, CALLS))))
    return table


def compare(table: LatencyTable, start: int = 0, refused: frozenset[int] = frozenset()) -> Comparison:
    parts = latency_parts(RULES, make_admission(), table.limits)
    return compared(TABLE.correction, table.task, RULES, table.log, start, refused=refused, parts=parts)


def rows(table: LatencyTable) -> dict[bytes, object]:
    """What counts, as it reads."""
    return {key: codec.unpack_tally(row) for key, row in table.store.scan(b"a", b"z") if key[:1] in KINDS}


def spoil(table: LatencyTable, kind: bytes) -> None:
    """The first row of a kind counts everything twice."""
    key, row = next((key, row) for key, row in table.store.scan(b"a", b"z") if key[:1] == kind)
    tally = codec.unpack_tally(row)
    tally.add(codec.unpack_tally(row))
    table.store.write({key: codec.pack_tally(tally)}, table.store.checkpoint() + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoiled_row_is_put_right_and_a_right_table_changes_in_nothing(kind: bytes) -> None:
    table = counted()
    right = rows(table)
    assert compare(table).changes == []
    spoil(table, kind)
    found = compare(table)
    assert (len(found.changes), found.out_of_reach, found.contradicted) == (1, 0, 0)
    assert published(TABLE.correction, found).sends == (), "nothing was stated of it"
    assert rows(table) == right
    assert compare(table).changes == []


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_calls_before_the_range_are_left_alone(kind: bytes) -> None:
    table = counted()
    spoil(table, kind)
    found = compare(table, start=6)
    assert found.changes == []
    assert found.out_of_reach > 0


def test_a_row_that_is_lost_comes_back_and_one_without_calls_goes() -> None:
    table = counted()
    right = rows(table)
    (first, _), *_ = right.items()
    table.store.write({first: None}, table.store.checkpoint() + 1)
    published(TABLE.correction, compare(table))
    assert rows(table) == right
    without = compare(table, refused=frozenset(range(CALLS - 4, CALLS)))  # as if nobody had sent the last hour
    assert {change.key[:1] for change in without.changes if change.value is None} == {b"h", b"m"}
