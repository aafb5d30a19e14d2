"""The row of an hour and what stating it does."""

from __future__ import annotations

from decimal import Decimal

from usage_log import at

from tables.counters import Counters
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow, month_key, state
from tables.window import HOUR_MS

KEY = HourKey(at("2025-01-31T23:00"), "org", "team", "USD")


def row_with(**requests: int) -> UsageRow:
    row = UsageRow(KEY)
    for model, count in requests.items():
        line = row.line("openai", model)
        line.requests, line.cost, line.prompt_tokens = count, Decimal(count), 10 * count
    return row


def test_a_line_is_made_once() -> None:
    row = UsageRow(KEY)
    line = row.line("openai", "gpt-4o")
    assert row.line("openai", "gpt-4o") is line
    assert row.line("openai", "o1") is not line


def test_a_row_is_settled_when_everything_counted_was_stated() -> None:
    row = row_with(a=1)
    seen = [row.settled]
    state(row, MonthRow(), 0)
    seen.append(row.settled)
    row.line("openai", "b").requests += 1
    seen.append(row.settled)
    state(row, MonthRow(), 0)
    assert [*seen, row.settled] == [False, True, False, True]


def test_an_empty_row_is_not_settled_before_it_was_stated() -> None:
    assert not UsageRow(KEY).settled


def test_stating_gives_the_next_revision_the_difference_and_the_new_month() -> None:
    row = row_with(b=1, a=2)
    first, month = state(row, MonthRow(Decimal(5), 7), at_ms=11)
    row.line("openai", "a").requests += 1
    second, month_after = state(row, month, at_ms=12)
    assert (first.revision, first.stated_ms, second.revision, second.stated_ms) == (0, 11, 1, 12)
    assert first.totals == first.delta == Counters(3, prompt_tokens=30, cost=Decimal(3))
    assert (second.totals.requests, second.delta) == (4, Counters(1))
    assert month == first.running == MonthRow(Decimal(8), 37)
    assert month_after == second.running == month
    assert [name for _, name, _ in first.lines] == ["b", "a"]
    assert first.end_ms - first.key.start_ms == HOUR_MS


def test_the_month_is_that_of_the_period_s_start() -> None:
    assert month_key(KEY) == MonthKey("2025-01", "org", "team", "USD")
    assert state(row_with(a=1), MonthRow(), at("2025-02-01T00:05"))[0].month == "2025-01"
