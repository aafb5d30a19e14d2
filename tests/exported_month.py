"""January 2025 as three sides tell it: usage and bills by hand, what `bills export` writes, and the ledger's SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from decimal import Context, Decimal
from pathlib import Path

from click.testing import CliRunner
from verify_logs import TEN, Logs

from streamapp.cli.tables.bills import command
from streamapp.settings import current


def january() -> Logs:
    """Usage and its bills: a revision, two currencies, a sum that floats do not hold."""
    logs = Logs()
    logs.use(TEN, 10**27 + 1)
    logs.state(TEN)
    logs.use(TEN + 1, 3)
    logs.state(TEN)
    logs.use(TEN + 2, 5, currency="EUR")
    logs.state(TEN, currency="EUR")
    logs.use(TEN + 3, 7, team="team_b")
    logs.state(TEN, team="team_b")
    return logs


def exported(url: str) -> dict[str, Decimal]:
    """What `streamapp bills export` tells of the month, which is what it writes."""
    current.cache_clear()
    try:
        asked = ["export", "--month", "2025-01", "--format", "jsonl", "--json"]
        result = CliRunner().invoke(command, asked, env={"STREAM_LEDGER_URL": url}, catch_exceptions=False)
    finally:
        current.cache_clear()
    told = {currency: Decimal(cost) for currency, cost in json.loads(result.stderr)["cost"].items()}
    assert added((row["currency"], row["cost"]) for row in map(json.loads, result.stdout.splitlines())) == told
    return told


def by_sql(path: Path) -> dict[str, Decimal]:
    """The month as docs/ledger.md says: the bills that count, added up as decimals."""
    month = "period_start >= '2025-01-01T00:00:00.000Z' AND period_start < '2025-02-01T00:00:00.000Z'"
    with closing(sqlite3.connect(path)) as connection:
        found = [
            added(connection.execute(f"SELECT currency, {cost} FROM {table} WHERE {month}"))
            for table, cost in (("bills_latest", "cost"), ("bills", "delta_cost"))
        ]
    assert found[0] == found[1]
    return found[0]


def added(rows: Iterable[tuple[str, str]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for currency, cost in rows:
        sums[currency] = Context(prec=60).add(sums.get(currency, Decimal(0)), Decimal(cost))
    return sums
