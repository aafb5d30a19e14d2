"""`streamapp bills export`: the month that is written equals what the check counts, to the last decimal."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from verify_logs import HOUR_MS, TEN, Logs
from verify_sides import audit

from streamapp.cli.tables.bills import command
from streamapp.settings import current
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill, to_row

EXACT = Context(prec=60)


def logs() -> Logs:
    """Revisions, two currencies, two models of one hour, a huge sum; every event is on a bill."""
    made = Logs()
    made.use(TEN, 3_800_000_000)
    made.use(TEN + 1, 1, model="zen-8b", provider="fireworks")
    made.state(TEN)
    made.use(TEN + 2, 999_999_999_999_999_999_999_999_999_999)
    made.state(TEN)
    made.use(TEN + 3, 5, currency="EUR")
    made.state(TEN, currency="EUR")
    made.use(TEN + HOUR_MS, 7, team="=team", org="org_2")
    made.state(TEN + HOUR_MS, team="=team", org="org_2")
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> dict[str, str]:
    """The variables of a process whose ledger has these bills."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    async def fill() -> None:
        async with open_ledger(url) as kept:
            rows = [to_row(one.topic, one.partition, one.offset, one.value) for one in logs().bills]
            await kept.apply("billing_events", 0, len(rows), [row for row in rows if isinstance(row, Bill)])

    asyncio.run(fill())
    return {"STREAM_LEDGER_URL": url}


def invoke(env: dict[str, str], *arguments: str) -> Result:
    current.cache_clear()  # another process each time
    try:
        return CliRunner().invoke(command, ["export", *arguments], env=env)
    finally:
        current.cache_clear()


def run(env: dict[str, str], *arguments: str) -> Result:
    result = invoke(env, "--month", "2025-01", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return result


def sums(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row["currency"]] = EXACT.add(found.get(row["currency"], Decimal(0)), Decimal(row["cost"]))
    return found


def billed() -> dict[str, Decimal]:
    """What the independent check counts as billed."""
    made = logs()
    report = audit(made.usage, made.bills, made.letters)
    assert report.ok, report.as_json()
    return report.money["billed"]


@pytest.mark.parametrize("lines", [(), ("--lines",)], ids=["bills", "lines"])
def test_every_format_has_the_sum_that_the_check_counts(
    ledger: dict[str, str], tmp_path: Path, lines: tuple[str, ...]
) -> None:
    written = run(ledger, *lines)
    told = json.loads(written.stderr)
    assert told == {
        "month": "2025-01",
        "bills": 3,
        "cost": {currency: f"{cost:.12f}" for currency, cost in billed().items()},
    }
    assert sums(list(csv.DictReader(io.StringIO(written.stdout)))) == billed()
    parsed = [json.loads(line) for line in run(ledger, "--format", "jsonl", *lines).stdout.splitlines()]
    assert sums(parsed) == billed()
    run(ledger, "--out", str(tmp_path / "january"), *lines)
    assert (tmp_path / "january").read_text() == written.stdout, "a name without a suffix"
    out = tmp_path / "january.parquet"
    run(ledger, "--out", str(out), *lines)
    rows = pq.read_table(out).to_pylist()
    assert sums(rows) == billed()
    assert [row["bill_id"] for row in rows] == [row["bill_id"] for row in parsed]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_pipe_is_written_to_and_never_replaced(ledger: dict[str, str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        written = run(ledger)
        run(ledger, "--out", str(pipe))
        assert pipe.is_fifo()
        assert os.read(reader, 1 << 20).decode().replace("\r\n", "\n") == written.stdout
    finally:
        os.close(reader)


def test_a_bill_is_there_once_with_its_highest_revision(ledger: dict[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run(ledger).stdout)))
    assert [(row["org_id"], row["team_id"], row["currency"], row["revision"]) for row in rows] == [
        ("org_1", "team_a", "EUR", "0"),
        ("org_1", "team_a", "USD", "1"),
        ("org_2", "=team", "USD", "0"),
    ]
    assert rows[1]["requests"] == "3"
    assert rows[1]["period_start"] == "2025-01-15T10:00:00.000Z"


def test_a_filter_and_another_month_have_their_own_sums(ledger: dict[str, str]) -> None:
    assert json.loads(run(ledger, "--org", "org_2").stderr)["cost"] == {"USD": "0.000000000007"}
    assert json.loads(run(ledger, "--team", "team_a").stderr)["bills"] == 2
    result = invoke(ledger, "--month", "2025-02")
    assert (result.exit_code, result.stderr) == (0, "0 bills of 2025-02: nothing\n")
    assert invoke(ledger, "--month", "January").exit_code == 2


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path) -> None:
    env = {"STREAM_LEDGER_URL": f"sqlite:///{tmp_path / 'nowhere.db'}"}
    result = invoke(env, "--month", "2025-01")
    assert "is not there" in str(result.exception)
