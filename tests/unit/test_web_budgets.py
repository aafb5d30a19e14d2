"""A team's budget over the real table: exact as of the newest chunk, the same figures on the page and in its twin."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from usage_log import SetLimits, Table, at, event
from web_fake import FakeWorker, World, serving

from streamapp.facts.budget import BudgetFacts, Spending
from streamapp.meters.usage.view import UsageView
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table as TableKind
from tables.usage.budget import Pace, pace
from tables.window import HOUR_MS


class OneTable(FakeWorker):
    """A worker whose months are those of a real table."""

    def __init__(self, table: Table) -> None:
        super().__init__(World(empty=True), "agg-0")
        self.view = UsageView(None, GroupMetrics("billing-agg"), lambda: at("12:00"), cast(TableKind, None))
        self.view.taken({0: cast(Any, SimpleNamespace(task=table.task))})

    def budgets(self, org: str, team: str, month: str) -> list[BudgetFacts]:
        return self.view.budgets(org, team, month)

    def spending(self, month: str, org: str, team: str, most: int) -> Spending:
        return self.view.spending(month, org, team, most)


def asked(table: Table, *paths: str) -> list[tuple[int, Any]]:
    """Status and content of pages: JSON of those that end in `.json`, before the `?`."""

    async def run() -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = []
        async with serving(OneTable(table)) as served, aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(served[0].url + path) as answer:
                    twin = answer.content_type == "application/json"
                    found.append((answer.status, await answer.json() if twin else await answer.text()))
        return found

    return asyncio.run(run())


def test_bills_open_hours_and_late_events_are_in_the_sum_and_the_rest_follows_from_it() -> None:
    table = Table(limits=SetLimits(team_a={"soft": "2", "hard": "7.5"}))
    table.apply(
        event("10:00", id="a", cost="1"),
        event("11:30", id="b", cost="2"),
        event("10:59", id="late", cost="4.000000000001"),
        event("11:30", "team_b", id="other", cost="100"),
    )
    ((status, said), (_, page)) = asked(table, "/budgets/org_a/team_a.json", "/budgets/org_a/team_a")
    assert status == 200
    (month,) = said["currencies"]
    assert {name: month[name] for name in ("month", "currency", "spent", "billed", "open")} == {
        "month": "2025-01",
        "currency": "USD",
        "spent": "7.000000000001",
        "billed": "1.000000000000",
        "open": "6.000000000001",
    }
    assert month["rate_per_hour"] == "4.666666666667"  # seven dollars in an hour and a half
    assert [(one["kind"], one["left"], one["crossed"]) for one in month["limits"]] == [
        ("soft", "-5.000000000001", "2025-01-15T11:30:00.000Z"),
        ("hard", "0.499999999999", None),
    ]
    assert (month["soft_limit_reached"], month["hard_limit_reached"]) == (True, False)
    for figure in ("spent", "billed", "open", "rate_per_hour", "forecast"):
        assert f'value="{month[figure]}"' in page


def test_a_team_without_usage_is_known_by_its_limit_and_another_is_not_there() -> None:
    table = Table(limits=SetLimits(team_c={"hard": "5"}))
    table.apply(event("10:00", id="a", cost="1"))
    paths = "/budgets/org_c/team_c.json", "/budgets/org_c/nobody.json", "/budgets.json?month=january"
    ((status, said), (missing, _), (refused, _)) = asked(table, *paths)
    assert (status, missing, refused) == (200, 404, 400)
    assert said["currencies"][0]["limits"][0]["left"] == "5.000000000000"


def test_the_list_is_sorted_by_what_was_spent_and_its_sums_are_exact() -> None:
    table = Table()
    table.apply(
        event("10:00", "team_b", id="1", cost="0.1"),
        event("10:00", id="2", cost="0.2"),
        event("11:06", id="3", cost="0.000000000001"),
        event("11:06", id="4", cost="7", currency="AI"),
    )
    ((_, said), (_, filtered)) = asked(table, "/budgets.json", "/budgets.json?team=_b")
    assert [(one["team"], one["currency"], one["spent"]) for one in said["teams"]] == [
        ("team_a", "AI", "7.000000000000"),
        ("team_a", "USD", "0.200000000001"),
        ("team_b", "USD", "0.100000000000"),
    ]
    assert (said["matching"], said["spent"]) == (3, {"AI": "7.000000000000", "USD": "0.300000000001"})
    assert (filtered["matching"], filtered["spent"]) == (1, {"USD": "0.100000000000"})


def test_the_pace_is_that_of_the_last_day_and_a_month_that_is_over_has_none() -> None:
    now_ms = at("2025-01-30T00:00")
    recent = [(now_ms - hours * HOUR_MS, Decimal("1.5")) for hours in (20, 10)]
    found = pace(Decimal(10), recent, "2025-01", now_ms)
    assert (found.rate, found.forecast) == (Decimal("0.15"), Decimal(10) + 48 * Decimal("0.15"))
    assert pace(Decimal(10), recent, "2024-12", now_ms) == Pace(Decimal(0), Decimal(10))
    assert pace(Decimal(10), [], "2025-01", now_ms) == Pace(Decimal(0), Decimal(10))
    assert pace(Decimal(1), [(now_ms - 60_000, Decimal(1))], "2025-01", now_ms).rate == 1, "an hour at least"
