"""Limits of a team's month: crossed at the record that reaches them, stated once, whatever comes later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from memory_store import UsageStore
from usage_log import NowProducer, Rec, SetLimits, Table, at, event

from streamapp.meters.usage import codec
from streamapp.meters.usage.crossing import crossing_id
from streamapp.meters.usage.parts import stated
from streamapp.meters.usage.store import USAGE
from streamapp.replay.repartition_rows import copies
from streamapp.schemas.budget import BudgetCrossed
from tables.usage.hourly import Crossed, MonthKey, MonthRow

MONTH = MonthKey("2025-01", "org_a", "team_a", "USD")
LIMITS_SOFT = Decimal("0.5")
LIMITS = {"team_a": {"soft": "0.5", "hard": "1"}}


def crossings(table: Table) -> list[str]:
    """`soft 0.5 at 0.5 by event-1@0 10:00`, as stated so far."""
    return [
        f"{one.limit.kind} {one.limit.amount} at {one.cost.normalize()} by {one.event_id}@{one.offset}"
        for outcome in table.outcomes
        for one in outcome.crossings
    ]


def sent(table: Table) -> list[dict[str, Any]]:
    """Every statement so far, in order."""
    return [
        json.loads(send.value or b"") for outcome in table.outcomes for send, _ in stated(outcome, table.task.place)
    ]


def calls(*costs: str, when: str = "10:00", ids: str = "e") -> Sequence[Rec]:
    return [event(when, id=f"{ids}{number}", cost=cost) for number, cost in enumerate(costs)]


def test_a_limit_is_crossed_at_the_record_that_reaches_it_in_the_middle_of_a_chunk() -> None:
    table = Table(limits=SetLimits(**LIMITS))
    table.apply(*calls("0.2", "0.2", "0.1", "0.3", "0.2", "5"))
    assert crossings(table) == ["soft 0.5 at 0.5 by e2@2", "hard 1 at 1 by e4@4"]
    assert table.task.memory.spent(MONTH) == 6


def test_the_statement_says_what_was_spent_and_by_which_event() -> None:
    table = Table(limits=SetLimits(**LIMITS))
    table.apply(*calls("0.2", "0.4"))
    (said,) = sent(table)
    assert said == {
        "schema": "hanzo.stream.v1",
        "id": crossing_id(MONTH, "soft", LIMITS_SOFT),
        "type": "billing.budget.crossed",
        "source": "billing-aggregator",
        "timestamp": "2025-01-15T10:00:00.000Z",
        "team_id": "team_a",
        "org_id": "org_a",
        "data": {
            "crossing_id": said["id"],
            "team_id": "team_a",
            "month": "2025-01",
            "period_start": "2025-01-01T00:00:00.000Z",
            "period_end": "2025-02-01T00:00:00.000Z",
            "currency": "USD",
            "limit": {"kind": "soft", "amount": "0.500000000000"},
            "cost": "0.600000000000",
            "event": {"id": "e1", "topic": "llm_usage", "partition": 0, "offset": 1},
        },
    }
    BudgetCrossed.model_validate(said)


def test_bills_and_late_events_count_and_bills_keep_their_place_in_the_order() -> None:
    table = Table(limits=SetLimits(**LIMITS))
    table.apply(
        *calls("0.3"),
        event("11:06", id="closes", cost="0.1"),
        event("10:59", id="late", cost="0.1"),
        event("11:11", id="mark", cost="0.5"),
    )
    kinds = [(one["type"].removeprefix("billing."), one["timestamp"][11:16]) for one in sent(table)]
    assert kinds == [
        ("usage.hourly", "11:05"),
        ("budget.crossed", "11:06"),  # by the late event, before the mark that states it
        ("usage.revised", "11:10"),
        ("budget.crossed", "11:11"),
    ]


def test_nothing_is_stated_twice_after_a_restart_or_when_records_are_read_again() -> None:
    table = Table(limits=SetLimits(**LIMITS))
    log = calls("0.5", "0.4", "0.1", "3")
    table.apply(*log[:2])
    table.restart()
    table.apply(*table.log[:2], *log[2:])
    table.apply(*calls("1", ids="more"))
    assert crossings(table) == ["soft 0.5 at 0.5 by e0@0", "hard 1 at 1 by e2@2"]


def test_another_month_another_org_and_another_currency_have_budgets_of_their_own() -> None:
    table = Table(limits=SetLimits(**LIMITS))
    table.apply(
        event("2025-01-31T23:59", id="january", cost="0.6"),
        event("2025-02-01T00:00", id="february", cost="0.4"),
        event("2025-02-01T00:00", id="org", org="org_b", cost="0.4"),
        event("2025-02-01T00:00", id="currency", currency="AI", cost="7"),
        event("2025-02-01T00:00", "team_b", id="team", cost="7"),
    )
    assert crossings(table) == ["soft 0.5 at 0.6 by january@0"]


def test_a_limit_that_is_lowered_is_crossed_by_the_next_event_and_a_raised_one_when_it_is_reached() -> None:
    limits = SetLimits(**LIMITS)
    table = Table(limits=limits)
    table.apply(*calls("0.6"))
    limits.set(team_a={"soft": "0.1", "hard": "0.7"})
    table.apply(*calls("0", "0.2", ids="lower"))
    limits.set(team_a={"soft": "0.5", "hard": "2"})
    table.apply(*calls("0.1", "1.2", ids="raised"))
    assert crossings(table) == [
        "soft 0.5 at 0.6 by e0@0",
        "soft 0.1 at 0.6 by lower0@1",
        "hard 0.7 at 0.8 by lower1@2",
        "hard 2 at 2.1 by raised1@4",  # and 0.5 was stated in this month
    ]


def test_a_limit_that_comes_while_an_hour_is_open_holds_for_it() -> None:
    limits = SetLimits()
    table = Table(limits=limits)
    table.apply(*calls("0.2", "0.2"))
    limits.set(**LIMITS)
    table.apply(*calls("0.05", "0.05", "0.05", ids="limited"))
    assert crossings(table) == ["soft 0.5 at 0.5 by limited1@3"]


def test_the_row_keeps_what_was_crossed_and_takes_it_to_another_partition() -> None:
    row = MonthRow(LIMITS_SOFT, 7, (Crossed("soft", LIMITS_SOFT, at("10:00")),))
    key, value = codec.month_key(MONTH), codec.pack_month(row)
    assert codec.unpack_month(value) == row
    assert USAGE.readable(key, value)[1]["crossed"][0]["kind"] == "soft"
    ((target, moved_key, moved),) = [copy for new in (2, 3, 5) for copy in copies(USAGE, key, value, 0, 1, new)][:1]
    assert target != 0
    store = UsageStore()
    store.write({moved_key: moved}, NowProducer(0).end)
    table = Table(store=store, limits=SetLimits(**LIMITS))
    table.apply(*calls("0.1"))
    assert (table.task.memory.spent(MONTH), crossings(table)) == (Decimal("0.6"), [])
