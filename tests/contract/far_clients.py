"""Calls each far side once, by the settings of the environment, and prints what came of it, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

from streamapp.errors import StreamError
from streamapp.notices.alerts import Alerts, Notice, Told
from streamapp.notices.destinations import destinations
from streamapp.settings import Settings, load
from streamapp.sinks.archive.store import open_archive
from streamapp.sinks.clickhouse.client import ClickHouse

NOTICE = Notice("c0ffee-1", "opened", 1_736_942_400_000, 0, 12, "llm_usage", "billing-agg", "too_late", "# days", None)


async def tell(alerts: Alerts) -> str:
    answer = await alerts.tell(NOTICE)
    await alerts.close()
    return "ok" if isinstance(answer, Told) else answer.why


async def archive(settings: Settings) -> str:
    store = open_archive(settings.archive, settings.archive.url or "")
    await store.replace("hello", b"there")
    return "ok" if await store.get("hello") == b"there" else "other bytes"


async def clickhouse(settings: Settings) -> str:
    def ask() -> str:
        client = ClickHouse(settings.clickhouse)
        try:
            return "ok" if client.rows("SELECT 7") == [(7,)] else "another answer"
        finally:
            client.close()

    return await asyncio.to_thread(ask)


async def main() -> dict[str, str]:
    settings = load()

    async def said(call: Callable[[], Awaitable[str]]) -> str:
        try:
            return await call()
        except StreamError as error:
            return str(error)

    told = {each.name: await tell(each) for each in destinations(settings.alerts) if each.name != "log"}
    kept = {"archive": await said(lambda: archive(settings)), "clickhouse": await said(lambda: clickhouse(settings))}
    return told | kept


sys.stdout.write(json.dumps(asyncio.run(main())))
