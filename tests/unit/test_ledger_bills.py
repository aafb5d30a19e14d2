"""What a statement says: totals, deltas, lines, running totals, coverage; and what stays in the table (decision 11)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from usage_log import Table, at, event, stated

from streamapp.meters.usage import codec
from tables.counters import Counters
from tables.outcome import Outcome
from tables.usage.hourly import HourKey, HourStatement, MonthKey


def only(outcome: Outcome) -> HourStatement:
    (statement,) = outcome.statements
    return statement


def test_counters_of_a_bill_and_its_lines() -> None:
    table = Table()
    table.apply(
        event("10:00", cost="0.1", prompt=1, completion=2),
        event("10:01", cost="0.2", prompt=3, completion=4, status="timeout"),
        event("10:02", cost="0.3", provider="anthropic", model="z", cache_hit=True),
        event("10:03", cost="0.4", provider="anthropic", model="claude", status="error", cache_hit=True),
    )
    bill = only(table.apply(event("11:05", "team_b")))
    assert bill.totals == Counters(4, 2, 2, 24, 16, Decimal("1.0"))
    assert bill.totals.total_tokens == 40
    assert bill.delta == bill.totals
    assert tuple(sorted(bill.lines, key=lambda line: line[:2])) == (
        ("anthropic", "claude", Counters(1, 1, 1, 10, 5, Decimal("0.4"))),
        ("anthropic", "z", Counters(1, 0, 1, 10, 5, Decimal("0.3"))),
        ("openai", "gpt-4o", Counters(2, 1, 0, 4, 6, Decimal("0.3"))),
    )


def test_a_statement_is_frozen_when_it_is_made() -> None:
    table = Table()
    outcome = table.apply(event("10:00"), event("11:05"), event("10:01"), event("10:02", model="new"))
    bill = outcome.statements[0]
    assert (bill.events, bill.totals.requests, [line.requests for *_, line in bill.lines]) == (1, 1, [1])


def test_a_revision_states_totals_and_the_difference_and_deltas_add_up() -> None:
    table = Table()
    table.apply(event("10:00", cost="0.1"), event("11:05"), event("10:01", cost="0.02", status="error"))
    table.restart()
    table.apply(event("11:10"), event("10:02", cost="0.003", cache_hit=True))
    table.apply(event("11:15"))
    bills = table.statements()
    assert [bill.revision for bill in bills] == [0, 1, 2]
    assert [bill.delta for bill in bills] == [
        Counters(1, 0, 0, 10, 5, Decimal("0.1")),
        Counters(1, 1, 0, 10, 5, Decimal("0.02")),
        Counters(1, 0, 1, 10, 5, Decimal("0.003")),
    ]
    assert sum((bill.delta for bill in bills), Counters()) == bills[-1].totals


def test_running_totals_start_over_with_the_month_of_the_period() -> None:
    table = Table()
    table.apply(event("2025-01-31T22:30", cost="1"), event("2025-01-31T23:30", cost="2"))
    table.apply(event("2025-02-01T00:00", cost="4"), event("2025-02-01T00:05", cost="8"))
    table.restart()
    table.apply(event("2025-01-31T23:59:59.999", cost="16"), event("2025-02-01T01:05"))
    assert [(bill.month, str(bill.running.cost), bill.running.total_tokens) for bill in table.statements()] == [
        ("2025-01", "1.000000000000", 15),
        ("2025-01", "3.000000000000", 30),
        ("2025-01", "19.000000000000", 45),
        ("2025-02", "12.000000000000", 30),
    ]


def test_running_totals_are_apart_for_orgs_teams_and_currencies() -> None:
    table = Table()
    table.apply(
        event("10:00", cost="1"),
        event("10:00", cost="2", currency="EUR"),
        event("10:00", "team_a", "org_b", cost="4"),
        event("10:00", "team_b", cost="8"),
    )
    costs = [int(bill.running.cost) for bill in table.apply(event("11:05")).statements]
    assert costs == [2, 1, 8, 4]


def test_a_revision_adds_its_difference_to_the_running_total_of_then() -> None:
    table = Table()
    table.apply(event("10:00", cost="1"), event("11:05", cost="2"), event("10:01", cost="4"), event("12:05"))
    assert [
        (clock, int(bill.running.cost))
        for clock, bill in zip(stated(table.statements()), table.statements(), strict=True)
    ] == [
        ("10:00 team_a r0: 1 at 11:05", 1),
        ("10:00 team_a r1: 2 at 11:10", 5),
        ("11:00 team_a r0: 1 at 12:05", 7),
    ]


def test_coverage_spans_the_records_counted() -> None:
    table = Table()
    first, unlike = event("10:00", id="x"), event("10:01", id="x")
    table.apply(event("09:59"), first, event("10:03", "team_b"), event("10:04"), unlike, replace(first, offset=-1))
    table.apply(event("11:05"))
    bill = next(bill for bill in table.statements() if bill.key.team == "team_a" and bill.key.start_ms == at("10:00"))
    assert (bill.first_offset, bill.last_offset, bill.events) == (1, 3, 2)
    table.restart()
    table.apply(event("10:05"))
    bill = only(table.apply(event("11:10")))
    assert (bill.first_offset, bill.last_offset, bill.events) == (1, 7, 3)


def test_money_is_exact_to_30_digits() -> None:
    table = Table()
    most, least = "999999999999999999.999999999999", "0.000000000001"
    table.apply(*(event("10:00", cost=most) for _ in range(11)), event("10:01", cost=least))
    table.restart()
    bill = only(table.apply(event("11:05")))
    assert str(bill.totals.cost) == str(bill.running.cost) == "10999999999999999999.999999999990"


def test_minus_zero_is_zero() -> None:
    table = Table()
    table.apply(event("10:00", cost="-0"), event("10:01", cost="-0.0"), event("11:05"), event("10:02", cost="-0"))
    for bill in [*table.statements(), *table.apply(event("11:10")).statements]:
        for money in (bill.totals.cost, bill.delta.cost, bill.running.cost, bill.lines[0][2].cost):
            assert str(money) == "0E-12"


def test_token_sums_beyond_64_bits_are_kept_exactly() -> None:
    table = Table()
    most = 2**52
    table.apply(*(event("10:00", prompt=most, completion=most) for _ in range(4100)))
    table.restart()
    bill = only(table.apply(event("11:05")))
    assert bill.totals.prompt_tokens == 4100 * most > 2**64
    table.restart()
    assert table.task.memory.rows.month(MonthKey("2025-01", "org_a", "team_a", "USD")).total_tokens == 8200 * most


def test_hours_behind_the_retention_expire_with_their_revisions() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:05"), event("10:31"), event("2025-01-29T10:59:59.999"))
    assert table.outcomes[-1].expired == []
    assert table.apply(event("2025-01-29T11:00")).expired == [(HourKey(at("10:00"), "org_a", "team_a", "USD"), 1)]
    assert [codec.unpack_hour_key(key).start_ms for key, _ in table.store.scan(b"h", b"i")] == [
        at("11:00"),
        at("2025-01-29T10:00"),
        at("2025-01-29T11:00"),
    ]


def test_an_hour_that_closes_and_expires_at_one_record_is_stated_and_leaves_no_row() -> None:
    table = Table()
    outcome = table.apply(event("10:30"), event("2025-03-01T00:00"))
    assert stated(outcome) == ["10:00 team_a r0: 1 at 11:05"]
    assert outcome.expired == [(HourKey(at("10:00"), "org_a", "team_a", "USD"), 0)]
    assert [codec.unpack_hour_key(key).start_ms for key, _ in table.store.scan(b"h", b"i")] == [at("2025-03-01T00:00")]
    assert dict(table.store.scan(b"m", b"n")) == {}


def test_a_month_expires_with_its_last_hour() -> None:
    table = Table()
    table.apply(event("2025-01-31T23:30"), event("2025-02-01T00:30"), event("2025-02-14T23:59:59.999"))
    assert table.outcomes[-1].old_months == []
    gone = table.apply(event("2025-02-15T00:00")).old_months
    assert gone == [MonthKey("2025-01", "org_a", "team_a", "USD")]
    assert [codec.unpack_month_key(key).month for key, _ in table.store.scan(b"m", b"n")] == ["2025-02"]
