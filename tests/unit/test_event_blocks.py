"""Which blocks of events ClickHouse is asked about: those that somebody may have begun to write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamapp.errors import Unavailable
from streamapp.exact.partition.place import Place
from streamapp.sinks.clickhouse.sink import EventBlocks
from streamapp.sinks.destination import Sealed
from streamapp.sinks.marks import Extent, Mark

PLACE = Place("analytics-ingest", "events_plugin_ingestion", 3, "id", 16, {})
FIRST, NEXT = Extent(0, 9, 10), Extent(10, 19, 10)


class Events:
    """Notes what it is asked; `away`: how often it does not answer."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.asked: list[tuple[str, bool]] = []

    def insert(self, block: Any, token: str, *, again: bool = False) -> None:
        self.asked.append((token.rpartition(":")[2], again))
        self.away -= 1
        if self.away >= 0:
            raise Unavailable("nothing listens there")


def test_a_block_that_was_not_answered_is_looked_for() -> None:
    events = Events(away=2)
    blocks = EventBlocks(events)  # type: ignore[arg-type]

    async def write() -> None:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await blocks.write(PLACE, FIRST, Sealed(None, b""))
        for extent in (FIRST, NEXT, FIRST):
            await blocks.write(PLACE, extent, Sealed(None, b""))

    asyncio.run(write())
    assert events.asked == [("0-9", False), ("0-9", True), ("0-9", True), ("10-19", False), ("0-9", False)]


def test_what_a_former_owner_promised_is_looked_for() -> None:
    events = Events()
    blocks = EventBlocks(events)  # type: ignore[arg-type]

    async def write() -> None:
        assert not await blocks.holds(PLACE, Mark(FIRST, b""))
        await blocks.write(PLACE, FIRST, Sealed(None, b""))

    asyncio.run(write())
    assert events.asked == [("0-9", True)]
