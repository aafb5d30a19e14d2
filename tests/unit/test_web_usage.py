"""The page of usage: spans, groups, sums and what they are compared with, as JSON and as CSV of what is shown."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from exported_month import exported
from usage_log import Table, at, event
from web_fake import FakeWorker, World, serving

from streamapp.facts.worker import HourFacts
from streamapp.meters.usage import statement
from streamapp.meters.usage.view import UsageView
from streamapp.metrics import GroupMetrics
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill, to_row
from streamapp.store.table import Table as TableKind
from streamapp.web.pages.usage.span import month_before, span_of
from streamapp.web.problem import Problem


class OneTable(FakeWorker):
    """A worker whose hours are those of a real table."""

    def __init__(self, table: Table) -> None:
        super().__init__(World(empty=True), "agg-0")
        self.view = UsageView(None, GroupMetrics("billing-agg"), lambda: at("18:00"), cast(TableKind, None))
        self.table = table

    async def load(self) -> None:
        self.view.taken({0: cast(Any, SimpleNamespace(task=self.table.task))})
        for _ in range(2_000):
            await asyncio.sleep(0)

    def hours(self) -> list[HourFacts]:
        return self.view.hours()

    def models(self, row: HourFacts) -> list[tuple[str, str, HourFacts]]:
        return self.view.models(row)


def asked(table: Table, *paths: str) -> list[Any]:
    """JSON of pages that end in `.json`, before the `?`; of others their text."""

    async def run() -> list[Any]:
        worker, found = OneTable(table), []
        await worker.load()
        async with serving(worker) as served, aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(served[0].url + path) as answer:
                    assert answer.status == 200, await answer.text()
                    twin = answer.content_type == "application/json"
                    found.append(await answer.json() if twin else await answer.text())
        return found

    return asyncio.run(run())


def table() -> Table:
    """Yesterday's hour and today's, two teams, two models, a late event; the hour of 11 is open."""
    made = Table()
    made.apply(
        event("2025-01-14T10:00", id="1", cost="1", model="small"),
        event("10:10", id="2", cost="2", model="small"),
        event("10:20", id="3", cost="0.5", model="large"),
        event("10:20", "team_b", "org_b", id="4", cost="4", model="large"),
        event("11:06", id="5", cost="8"),
        event("10:59", id="late", cost="0.000000000001", model="large"),
    )
    return made


def test_why_an_hour_is_dearer_than_yesterday() -> None:
    path = "/usage.json?hour=2025-01-15T10:00&compare=day&team=team_a&by=model"
    said, page = asked(table(), path, path.replace(".json", ""))
    assert [(one["model"], one["requests"], one["cost"], one["change"]) for one in said["groups"]] == [
        ("small", 1, "2.000000000000", "1.000000000000"),
        ("large", 2, "0.500000000001", "0.500000000001"),
    ]
    (total,) = said["totals"]
    assert (total["cost"], total["before"]["cost"], total["change"]) == (
        "2.500000000001",
        "1.000000000000",
        "1.500000000001",
    )
    assert (total["hours"], total["requests"]) == (1, 3)
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Jan 14, 10:00–11:00" in words, "what it is compared with"
    assert "+ $1.00 +100.0 %" in words.replace("+$", "+ $"), "by how much each model is dearer"


def billed(made: Table, folder: Path) -> Decimal:
    """What `bills export` writes of January, from a ledger that has every bill so far."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    events = [statement.event(one, "llm_usage", 0)[1] for one in made.statements()]

    async def fill() -> None:
        async with open_ledger(url) as kept:
            rows = [to_row("billing_events", 0, offset, value) for offset, value in enumerate(events)]
            await kept.apply("billing_events", 0, len(rows), [row for row in rows if isinstance(row, Bill)])

    asyncio.run(fill())
    return exported(url)["USD"]


def test_the_page_is_the_exported_month_and_what_is_open_and_pending(tmp_path: Path) -> None:
    waits, revised = table(), table()
    revised.apply(event("11:20", id="next", cost="4"))
    assert [billed(waits, tmp_path / "1"), billed(revised, tmp_path / "2")] == [
        Decimal("7.5"),
        Decimal("7.500000000001"),
    ]
    for made, expected in (
        (waits, ("7.500000000000", "8.000000000000", "0.000000000001")),
        (revised, ("7.500000000001", "12.000000000000", "0")),
    ):
        paths = ["", *(f"&by={by}" for by in ("team", "model", "day"))]
        *twins, page = asked(made, *(f"/usage.json?month=2025-01{more}" for more in paths), "/usage?month=2025-01")
        for twin in twins:
            (total,) = twin["totals"]
            for lines in ([total], twin.get("groups", [total])):
                parts = [sum(Decimal(line[name]) for line in lines) for name in ("billed", "open_cost", "pending_cost")]
                assert parts == [*map(Decimal, expected)]
                assert sum(parts) == Decimal(total["cost"])
        assert f'On bills, as exported</dt><dd><data class="money exact" value="{expected[0]}"' in page
        assert ("Pending, on no bill yet" in page) == (made is waits)


def test_hours_of_a_time_are_sorted_by_cost_and_those_of_one_team_by_time() -> None:
    paths = ["/usage.json?month=2025-01", "/usage.json?month=2025-01&team=team_a", "/usage.json"]
    dear, of_a_team, all_ = (said["hours"] for said in asked(table(), *paths))
    costs = [Decimal(one["cost"]) for one in dear]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) > 2
    for newest in (of_a_team, all_):
        starts = [one["start"] for one in newest if one["state"] != "open"]
        assert starts == sorted(starts, reverse=True)


def test_groups_are_sorted_by_cost_and_every_grouping_has_the_same_sum() -> None:
    paths = [f"/usage.json?month=2025-01&by={by}" for by in ("team", "org", "model", "day", "hour")]
    for path, said in zip(paths, asked(table(), *paths), strict=True):
        assert sum(Decimal(one["cost"]) for one in said["groups"]) == Decimal("15.500000000001"), path
        assert [one["cost"] for one in said["totals"]] == ["15.500000000001"]
    teams = asked(table(), paths[0])[0]["groups"]
    assert [(one["org"], one["team"], one["cost"]) for one in teams] == [
        ("org_a", "team_a", "11.500000000001"),
        ("org_b", "team_b", "4.000000000000"),
    ]


def test_the_table_is_what_is_shown() -> None:
    query = "month=2025-01&by=team&compare=month"
    twin, text = asked(table(), f"/usage.json?{query}", f"/usage.csv?{query}")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["org"], row["team"], row["cost"]) for row in rows] == [
        (one["org"], one["team"], one["cost"]) for one in twin["groups"]
    ]
    assert rows[0]["before_cost"] == "0.000000000000"
    hours, text = asked(table(), "/usage.json?limit=2", "/usage.csv?limit=2")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["start"], row["cost"]) for row in rows] == [(one["start"], one["cost"]) for one in hours["hours"]]
    assert len(rows) == 2


def test_a_name_is_no_formula() -> None:
    made = Table()
    made.apply(event("10:00", "=SUM(A1)", "@org", id="1"))
    rows = list(csv.DictReader(io.StringIO(asked(made, "/usage.csv?month=2025-01&by=team")[0])))
    assert (rows[0]["org"], rows[0]["team"]) == ("'@org", "'=SUM(A1)")


def test_the_page_of_an_org_has_its_teams_and_no_other_org() -> None:
    twin, page = asked(table(), "/orgs/org_a.json?month=2025-01", "/orgs/org_a?month=2025-01")
    assert [one["team"] for one in twin["teams"]] == ["team_a"]
    assert twin["totals"][0]["cost"] == "11.500000000001"
    assert 'value="11.500000000001"' in page
    assert "team_b" not in page


def test_hours_lead_to_usage() -> None:
    assert asked(table(), "/hours.json?team=team_b")[0]["matching"] == 1


@pytest.mark.parametrize(
    ("params", "begin", "end"),
    [
        ({"hour": "2025-01-15T10:30"}, "10:00", "11:00"),
        ({"month": "2025-02"}, "2025-02-01T00:00", "2025-03-01T00:00"),
        ({"from": "2025-01-14", "to": "2025-01-15"}, "2025-01-14T00:00", "2025-01-16T00:00"),
        ({"from": "2025-01-14T10:00", "to": "2025-01-15T11:00"}, "2025-01-14T10:00", "11:00"),
        ({"from": "2025-01-15T10:00"}, "10:00", "19:00"),
        ({}, "00:00", "2025-01-16T00:00"),
    ],
)
def test_a_span_is_read_from_the_address(params: dict[str, str], begin: str, end: str) -> None:
    found = span_of(params, at("18:30"))
    assert (found.from_ms, found.until_ms) == (at(begin), at(end))
    assert found.is_chosen == bool(params)


def test_the_span_before_is_an_hour_a_day_or_a_month_earlier() -> None:
    hour = {"hour": "2025-03-31T10:00"}
    before = {name: span_of({**hour, "compare": name}, 0).before for name in ("", "hour", "day", "month")}
    assert before == {
        "": None,
        "hour": (at("2025-03-31T09:00"), at("2025-03-31T10:00")),
        "day": (at("2025-03-30T10:00"), at("2025-03-30T11:00")),
        "month": (at("2025-02-28T10:00"), at("2025-02-28T11:00")),
    }
    assert span_of({"month": "2025-03", "compare": "month"}, 0).before == (
        at("2025-02-01T00:00"),
        at("2025-03-01T00:00"),
    )
    so_far = span_of({"month": "2025-01", "compare": "month"}, at("18:30")).before
    assert so_far == (at("2024-12-01T00:00"), at("2024-12-15T19:00")), "as much of it as there is of this one"
    assert span_of({"compare": "day"}, at("18:30")).before == (at("2025-01-14T00:00"), at("2025-01-14T19:00"))
    assert month_before(at("2025-01-31T05:00")) == at("2024-12-31T05:00")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"hour": "2025-01-15T10:00"}, "Jan 15, 10:00–11:00"),
        ({"hour": "2025-01-15T23:00"}, "Jan 15, 23:00–24:00"),
        ({"from": "2025-01-14", "to": "2025-01-14"}, "Jan 14, 00:00–24:00"),
        ({"from": "2025-01-14T23:00", "to": "2025-01-15T01:00"}, "Jan 14, 23:00 – Jan 15, 01:00"),
        ({"from": "2025-01-13", "to": "2025-01-14"}, "Jan 13, 00:00 – Jan 15, 00:00"),
    ],
)
def test_a_span_has_words_that_say_where_it_ends(params: dict[str, str], words: str) -> None:
    assert span_of(params, at("18:30")).words == words


@pytest.mark.parametrize(
    "params", [{"month": "2025-13"}, {"from": "soon"}, {"from": "2025-01-02", "to": "2025-01-01"}, {"compare": "year"}]
)
def test_a_span_that_cannot_be_is_refused(params: dict[str, str]) -> None:
    with pytest.raises(Problem):
        span_of(params, at("18:30"))
