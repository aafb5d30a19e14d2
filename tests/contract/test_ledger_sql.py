"""The queries of docs/ledger.md, on both databases: they run as they stand, and their sums are the ledger's."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from verify_logs import HOUR_MS, TEN, Logs, text

from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill, to_row

GUIDE = Path(__file__).parents[2] / "docs" / "ledger.md"
QUERIES = dict(re.findall(r"```sql\n-- ([^\n]+)\n(.*?);\n```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))


def bills() -> list[Bill]:
    logs = Logs()
    logs.use(TEN)
    logs.use(TEN + 1, 500_000_000_000, model="zen-8b", provider="fireworks")
    logs.state(TEN)
    logs.use(TEN + 2, 1)
    logs.state(TEN)
    logs.use(TEN - 24 * HOUR_MS, 250_000_000_000)
    logs.state(TEN - 24 * HOUR_MS)
    logs.use(TEN, 7, team="team_b", org="org_2")
    logs.state(TEN, team="team_b", org="org_2")
    rows = [to_row(one.topic, one.partition, one.offset, one.value) for one in logs.bills]
    return [row for row in rows if isinstance(row, Bill)]


@pytest.fixture(params=["sqlite", "postgres"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """(name of a query, parameters) → its rows, on a ledger with these bills."""
    is_file = request.param == "sqlite"
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}" if is_file else request.getfixturevalue("postgres_url")

    async def fill() -> None:
        async with open_ledger(url) as ledger:
            await ledger.apply("billing_events", 0, 9, bills())

    asyncio.run(fill())

    def ask(name: str, **named: str) -> list[tuple[Any, ...]]:
        query = QUERIES.get(name) or QUERIES[f"{name} ({'SQLite' if is_file else 'PostgreSQL'})"]
        if is_file:
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(query, named).fetchall()
        for key in sorted(named, key=len, reverse=True):
            query = query.replace(f":{key}", f"%({key})s")
        with psycopg.connect(url) as connection:
            return connection.execute(query.encode(), named).fetchall()

    return ask


def money(value: object) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("1E-9"))  # SQLite adds floats


def test_every_query_is_tried() -> None:
    assert set(QUERIES) == {
        *("month by team", "revisions of a bill", "revised bills", "hour against the day before"),
        *("models of a bill (PostgreSQL)", "models of a bill (SQLite)"),
    }


def test_a_month_by_team(asked: Any) -> None:
    rows = [(*row[:5], money(row[5])) for row in asked("month by team")]
    assert rows == [
        ("org_1", "team_a", "USD", 2, 4, money("0.753800000001")),
        ("org_2", "team_b", "USD", 1, 1, money("0.000000000007")),
    ]


def test_the_revisions_of_a_bill(asked: Any) -> None:
    first = bills()[0]
    rows = asked("revisions of a bill", id=first.id)
    assert [(row[0], Decimal(row[2])) for row in rows] == [
        (0, Decimal("0.503800000000")),
        (1, Decimal("0.503800000001")),
    ]
    assert rows[0][5] == first.event
    assert all(row[4] for row in rows), "when it was kept"


def test_revised_bills_and_an_hour_against_the_day_before(asked: Any) -> None:
    ((org, team, currency, _, revisions, _),) = asked("revised bills")
    assert (org, team, currency, revisions) == ("org_1", "team_a", "USD", 1)
    hours = asked("hour against the day before", team="team_a", hour=text(TEN), hour_before=text(TEN - 24 * HOUR_MS))
    assert [Decimal(row[6]) for row in hours] == [Decimal("0.25"), Decimal("0.503800000001")]


def test_the_models_of_a_bill(asked: Any) -> None:
    rows = asked("models of a bill", id=bills()[1].id)
    assert [(row[0], row[1], Decimal(row[2])) for row in rows] == [
        ("fireworks", "zen-8b", Decimal("0.5")),
        ("together", "zen-72b", Decimal("0.003800000001")),
    ]
