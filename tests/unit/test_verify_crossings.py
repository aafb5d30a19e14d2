"""usage=crossings passes what the worker states, and finds what is lost, doubled or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from usage_log import Rec, SetLimits, Table, event
from verify_sides import sides

from streamapp.kafka.log.reader import Record
from streamapp.meters.usage.parts import stated
from streamapp.verify.bills.usage_crossings import PAIR
from streamapp.verify.reading import Limits
from streamapp.verify.report import PairReport

LIMITS = {"team_a": {"soft": "0.5", "hard": "1"}}


def log() -> list[Rec]:
    return [
        event("10:00", id="a", cost="0.4"),
        event("10:00", id="a2", cost="0.1"),
        event("11:06", id="b", cost="0.000000000001"),
        event("10:30", id="late", cost="0.6"),
        event("11:11", id="c", cost="3"),
        event("2025-02-01T00:00", id="d", cost="0.9"),
    ]


def made(log: Sequence[Rec]) -> tuple[list[Record], list[Record]]:
    """The usage, and what the worker states of it."""
    table = Table(limits=SetLimits(**LIMITS))
    for record in log:
        table.apply(replace(record))
    usage = [Record("llm_usage", 0, at.offset, at.timestamp, at.key, at.value) for at in table.log]
    sent = [send for outcome in table.outcomes for send, _ in stated(outcome, table.task.place)]
    bills = [Record("billing_events", 0, number, 0, send.key, send.value) for number, send in enumerate(sent)]
    return usage, bills


def check(usage: Sequence[Record], bills: Sequence[Record], since_ms: int = 0, **more: Any) -> PairReport:
    limits = SetLimits(**LIMITS)
    found = sides(
        PAIR,
        {"llm_usage": usage, "billing_events": bills},
        limits=lambda: Limits(limits.limits_of, since_ms),  # type: ignore[arg-type]
        **more,
    )
    PAIR.judge(found)
    report: PairReport = found.report
    return report


def counts(report: PairReport) -> tuple[int, int, int]:
    """(lost, doubled, wrong)"""
    return report.lost.count, report.doubled.count, report.wrong.count


def crossing(bills: Sequence[Record], number: int) -> int:
    """Where a crossing is among the statements."""
    return [at for at, bill in enumerate(bills) if b"budget.crossed" in (bill.value or b"")][number]


def test_what_the_worker_states_agrees() -> None:
    usage, bills = made(log())
    report = check(usage, bills)
    assert counts(report) == (0, 0, 0), report.as_json()
    assert report.events == len(usage)
    assert sum(b"budget.crossed" in (bill.value or b"") for bill in bills) == 3  # two in January, one in February


def changed(**changes: Any) -> Callable[[list[Record]], None]:
    def change(bills: list[Record]) -> None:
        at = crossing(bills, 0)
        said = json.loads(bills[at].value or b"")
        said["data"] |= changes
        bills[at] = bills[at]._replace(value=json.dumps(said).encode())

    return change


def again(bills: list[Record]) -> None:
    bills.append(bills[crossing(bills, 0)])


def gone(bills: list[Record]) -> None:
    del bills[crossing(bills, 1)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (gone, (1, 0, 0)),
        (again, (0, 1, 0)),
        (changed(cost="0.600000000000"), (0, 0, 1)),
        (changed(limit={"kind": "soft", "amount": "0.600000000000"}), (1, 0, 1)),  # another id
        (changed(event={"id": "b", "topic": "llm_usage", "partition": 0, "offset": 2}), (0, 0, 1)),
        (changed(event={"id": "a2", "topic": "llm_usage", "partition": 0, "offset": 99}), (0, 0, 1)),
        (changed(cost=1), (1, 0, 1)),
    ],
    ids=["gone", "again", "cost", "limit", "event", "nowhere", "unreadable"],
)
def test_a_fault_is_found(fault: Callable[[list[Record]], None], expected: tuple[int, int, int]) -> None:
    usage, bills = made(log())
    fault(bills)
    report = check(usage, bills)
    assert (report.lost.count, report.doubled.count, min(report.wrong.count, 1)) == expected, report.as_json()


def test_what_was_not_read_yet_or_came_before_the_directory_changed_is_not_lost() -> None:
    usage, bills = made(log())
    gone(bills)
    assert counts(check(usage, bills, committed={0: 3})) == (0, 0, 0)
    assert counts(check(usage, bills, since_ms=1 << 60)) == (0, 0, 0)


def test_a_month_that_began_before_the_log_is_out_of_reach() -> None:
    usage, bills = made(log())
    report = check(usage[1:], bills, starts={("llm_usage", 0): 1})
    assert (counts(report), report.out_of_reach) == ((0, 0, 0), 2)
