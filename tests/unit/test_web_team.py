"""A team's page over the real table: costs that were rounded, and models without a line of their own (ADR 0028)."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from usage_log import Table, at, event, without_lane
from web_fake import FakeWorker, World, serving

from streamapp.facts.worker import TeamFacts
from streamapp.meters.usage.view import UsageView
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table as TableKind
from tables.window import Rules

ORG, TEAM = "org_a", "team_a"
CELL = re.compile(r'data-label="(\w+)"[^>]*>([^<]*)')


class OneTable(FakeWorker):
    """A worker whose teams are those of a real table."""

    def __init__(self, facts: list[TeamFacts]) -> None:
        super().__init__(World(empty=True), "agg-0")
        self._facts = facts

    def team(self, org: str, team: str) -> list[TeamFacts]:
        return self._facts if (org, team) == (ORG, TEAM) else []


async def facts_of(table: Table) -> list[TeamFacts]:
    """What the view of a worker with this partition says of the team."""
    kind = cast(TableKind, None)  # of no use for a team's facts
    view = UsageView(None, GroupMetrics("billing-agg"), lambda: at("12:00"), kind)
    view.taken({0: cast(Any, SimpleNamespace(task=table.task))})
    for _ in range(2_000):
        await asyncio.sleep(0)  # the hours that are closed are read, slice by slice
    return view.team(ORG, TEAM)


def page(table: Table) -> str:
    async def run() -> str:
        async with serving(OneTable(await facts_of(table))) as served, aiohttp.ClientSession() as session:
            url = f"{served[0].url}/teams/{ORG}/{TEAM}"
            async with session.get(url, headers={"Accept": "text/html"}) as answer:
                assert answer.status == 200
                return await answer.text()

    return asyncio.run(run())


def models(text: str) -> dict[str, dict[str, str]]:
    """The table of models: name → cells by their labels."""
    body = text.split("<h3>Models</h3>")[1].split("</tbody>")[0].split("<tbody")[1]
    rows = body.split("<tr ")[1:]
    return {re.findall(r"<span>([^<]+)", row)[0]: dict(CELL.findall(row)) for row in rows}


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "fold"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_the_first_models_have_a_line_and_the_rest_is_one(lane: bool, closed: bool) -> None:
    table = Table(Rules(names_max=2))
    if not lane:
        without_lane(table)
    table.apply(*(event("10:00", model=model, cost="0.1") for model in ("c", "a", "b", "a", "z", "b", "b")))
    table.apply(*(event("11:00", model=model, cost="0.2") for model in ("b", "a", "other")))
    if closed:
        table.apply(event("12:06", "team_b"))
        table.restart()
    shown = models(page(table))
    requests = {name: row["Requests"] for name, row in shown.items()}
    assert requests == {"a": "3", "b": "1", "c": "1", "other models": "5"}
    assert sum(int(row["Tokens"]) for row in shown.values()) == 10 * int(shown["c"]["Tokens"])


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "fold"])
@pytest.mark.parametrize(
    ("rounded", "words"),
    [
        (0, None),
        (1, "1 cost of these hours had more than 12 decimals and was rounded half to even."),
        (3, "3 costs of these hours had more than 12 decimals and were rounded half to even."),
    ],
)
def test_costs_that_were_rounded_are_counted_over_all_hours_and_models(
    lane: bool, rounded: int, words: str | None
) -> None:
    table = Table(Rules(names_max=2))
    if not lane:
        without_lane(table)
    costs = [("0.0016150000000000001" if number < rounded else "0.1") for number in range(4)]
    events = [event(f"1{number % 2}:00", model="abcd"[number], cost=cost) for number, cost in enumerate(costs)]
    for one in sorted(events, key=lambda one: one.timestamp):
        table.apply(one)
    text = page(table)
    if words is None:
        assert "12 decimals" not in text
    else:
        assert words in text
