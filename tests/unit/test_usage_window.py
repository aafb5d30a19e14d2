"""An hour of usage as the page of an event sees it: open in the fast path, stated, pending."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from usage_log import Table, at, clock, event, without_lane

from streamapp.facts.events import WindowFacts
from streamapp.meters.usage.view import UsageView
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table as TableKind


async def window(table: Table) -> list[WindowFacts]:
    view = UsageView(None, GroupMetrics("billing-agg"), lambda: at("12:00"), cast(TableKind, None))
    view.taken({0: cast(Any, SimpleNamespace(task=table.task))})
    return view.window(("org_a", "team_a", "USD"), at("10:30"))


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "fold"])
def test_an_hour_is_found_wherever_its_row_is(lane: bool) -> None:
    table = Table()
    if not lane:
        without_lane(table)
    table.apply(event("09:59"))
    assert asyncio.run(window(table)) == []
    states = []
    for one in (event("10:10"), event("11:05"), event("10:20"), event("11:10")):
        table.apply(one)
        (facts,) = asyncio.run(window(table))
        states.append((facts.state, facts.due_ms and clock(facts.due_ms), len(facts.statements)))
    assert states == [("open", "11:05", 0), ("stated", None, 1), ("pending", "11:10", 1), ("stated", None, 2)]
