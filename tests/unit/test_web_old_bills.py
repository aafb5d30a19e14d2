"""A bill that no worker keeps any more is shown by the ledger, every revision with the time at which it was kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from verify_logs import TEN, Logs
from web_fake import FakeWorker, World, serving

from streamapp.agents.kept_bills import LedgerBills
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill, to_row


def bills() -> list[Bill]:
    logs = Logs()
    logs.use(TEN, 500_000_000_000)
    logs.state(TEN)
    logs.use(TEN + 1, 1)
    logs.state(TEN)
    rows = [to_row(one.topic, one.partition, one.offset, one.value) for one in logs.bills]
    return [row for row in rows if isinstance(row, Bill)]


def asked(url: str, *paths: str) -> list[tuple[int, str]]:
    """Status and text of pages of a worker that has no bill."""

    async def run() -> list[tuple[int, str]]:
        found = []
        worker = FakeWorker(World(empty=True), "agg-0")
        async with serving(worker, ledger=LedgerBills(url)) as served, aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(served[0].url + path) as answer:
                    found.append((answer.status, await answer.text()))
        return found

    return asyncio.run(run())


def test_an_old_bill_is_shown_as_the_ledger_has_it(tmp_path: Path) -> None:
    url, (first, second) = f"sqlite:///{tmp_path / 'ledger.db'}", bills()

    async def fill() -> None:
        async with open_ledger(url) as ledger:
            await ledger.apply("billing_events", 0, 1, [first])
            await ledger.apply("billing_events", 0, 2, [second])

    asyncio.run(fill())
    (status, page), (_, twin), (_, exact), (missing, _) = asked(
        url, f"/bills/{first.id}", f"/bills/{first.id}.json", f"/bills/{second.id}/statement", "/bills/evt_none"
    )
    assert (status, missing) == (200, 404)
    assert "as the ledger has it" in page
    assert page.count("recorded ") == 2
    said: dict[str, Any] = json.loads(twin)
    assert (said["worker"], said["newest"]) == ("the ledger", second.id)
    assert said["recorded"]
    assert exact == second.event


def test_without_a_ledger_a_page_says_where_old_bills_are(tmp_path: Path) -> None:
    ((status, page),) = asked(f"sqlite:///{tmp_path / 'nowhere.db'}", f"/bills/{bills()[0].id}")
    assert status == 404
    assert "docs/ledger.md" in page
