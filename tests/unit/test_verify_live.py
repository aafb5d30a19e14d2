"""usage=bills while workers run: what the group has not committed is waiting, what it has is judged."""

from __future__ import annotations

from decimal import Decimal

import pytest
from verify_logs import HOUR_MS, TEN, Logs
from verify_sides import audit

from streamapp.verify.report import BillsReport, PairReport, Sums

MINUTE_MS = 60_000
ELEVEN = TEN + HOUR_MS
# The offset whose record brought each statement of `stream`.
BROUGHT_BY = (5, 7, 9)


def stream(upto_bill: int = 3, letter: bool = True) -> Logs:
    """An hour with poison that closes, and two late events that are stated one after the other."""
    logs = Logs()
    logs.use(TEN)
    poison = logs.use(TEN, counts=False, total_tokens=1)
    if letter:
        logs.refuse(poison, "tokens_mismatch")
    logs.use(TEN + 1)
    logs.use(TEN + 2, team="team_q")
    logs.use(TEN + 3, currency="EUR")
    logs.use(ELEVEN + 5 * MINUTE_MS)
    for team, currency in (("team_a", "EUR"), ("team_a", "USD"), ("team_q", "USD"))[: 3 * (upto_bill > 0)]:
        logs.state(TEN, team=team, currency=currency, upto=5)
    logs.use(TEN + 4)
    logs.use(ELEVEN + 10 * MINUTE_MS)
    if upto_bill > 1:
        logs.state(TEN, upto=7)
    logs.use(TEN + 5)
    logs.use(ELEVEN + 15 * MINUTE_MS)
    if upto_bill > 2:
        logs.state(TEN, upto=9)
    return logs


def check(logs: Logs, committed: int | None) -> BillsReport:
    return audit(logs.usage, logs.bills, logs.letters, committed=None if committed is None else {0: committed})


@pytest.mark.parametrize("committed", range(11))
def test_bills_may_be_behind_and_ahead_of_what_was_committed(committed: int) -> None:
    stated = sum(offset < committed for offset in BROUGHT_BY)
    for upto_bill in range(stated, 4):
        report = check(stream(upto_bill, letter=committed > 1), committed)
        assert report.ok, (upto_bill, report.as_json())
        assert report.numbers["unread"] == 10 - committed


@pytest.mark.parametrize("committed", range(11))
def test_a_bill_that_was_due_by_what_was_committed_is_lost(committed: int) -> None:
    for upto_bill in range(3):
        report = check(stream(upto_bill), committed)
        assert report.ok == (committed <= BROUGHT_BY[upto_bill]), (upto_bill, report.as_json())


def test_poison_needs_its_letter_when_it_was_committed() -> None:
    assert check(stream(letter=False), 1).ok
    assert check(stream(letter=False), 2).lost.count == 1


def test_a_group_that_has_committed_nothing_has_lost_nothing() -> None:
    report = audit(stream(0, letter=False).usage, [], [], committed={})
    assert report.ok
    assert (report.numbers["unread"], report.numbers["events_waiting"]) == (10, 9)


@pytest.mark.parametrize("first", range(11))
def test_hours_that_may_have_begun_before_the_reading_did_are_out_of_reach(first: int) -> None:
    logs = stream()
    logs.use(TEN, id="evt_0_0", counts=False)  # a repeat of what may lie before
    logs.use(ELEVEN + HOUR_MS + 5 * MINUTE_MS)
    logs.state(ELEVEN)
    starts, since_ms = {("llm_usage", 0): first}, logs.usage[first].timestamp_ms
    report = audit(logs.usage[first:], logs.bills, logs.letters, starts=starts, since_ms=since_ms)
    assert report.ok, report.as_json()
    assert report.hours.keys() <= {ELEVEN}
    logs.bills.remove(logs.bills[-1])
    early_ms = min(since_ms, ELEVEN - 5 * MINUTE_MS)
    report = audit(logs.usage[first:], logs.bills, logs.letters, starts=starts, since_ms=early_ms)
    assert report.lost.count == sum(offset >= 5 for offset in (5, 7, 9) if offset >= first), report.as_json()


def as_pair(logs: Logs, committed: int | None = None) -> PairReport:
    report = check(logs, committed)
    report.compare_hours()
    return report


def test_both_sides_of_an_hour_sum_to_the_same() -> None:
    made = as_pair(stream())
    assert (made.name, made.events, made.waiting, made.difference) == ("usage=bills", 9, 3, 0)
    amounts: dict[str, Decimal | int] = {
        "total_tokens": Decimal(6 * 380),
        "cost USD": Decimal("0.019"),
        "cost EUR": Decimal("0.0038"),
    }
    assert made.hours == {TEN: (Sums(6, amounts), Sums(6, amounts))}
    assert made.as_json()["hours_differing"] == []


def test_what_is_lost_shows_in_its_hour() -> None:
    made = as_pair(stream(2))
    assert made.difference == 1
    ((start_ms, (left, right)),) = made.differing_hours()
    assert (start_ms, left.events, right.events) == (TEN, 6, 5)
    assert made.as_json()["hours_differing"][0]["left"]["cost USD"] == "0.019000000000"


def test_sums_that_differ_are_wrong_although_nothing_else_was_found() -> None:
    made = PairReport("a=b", "a", "b", hours={TEN: (Sums(1, {"x": Decimal(1)}), Sums(1, {"x": Decimal(2)}))})
    made.compare_hours()
    assert made.difference == 1
    assert "a sums to 1 events, x 1, b to 1 events, x 2" in made.wrong.examples[0].what
