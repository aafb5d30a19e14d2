"""events_plugin_ingestion in ClickHouse's table of events, declared: blocks of thousands of rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streamapp.exact.declaration import EventSource
from streamapp.exact.partition.place import Place
from streamapp.settings import Settings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.columns import EventColumns
from streamapp.sinks.clickhouse.events import AnalyticsEvents, token_of
from streamapp.sinks.clickhouse.rewrite import EventsRewriter
from streamapp.sinks.declaration import SinkDeclaration
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import Extent, Mark, marks
from streamapp.sinks.task import Bounds, Read

Columns = Any
"""`pyarrow.RecordBatch`, which has no types: the rows of a chunk."""


class EventBlocks(Destination[Columns]):
    """The table of events. A block has the token of its offsets, and ClickHouse passes over a token that it knows."""

    def __init__(self, events: AnalyticsEvents) -> None:
        self._events = events
        self._one_at_a_time = asyncio.Lock()
        self._begun: set[str] = set()  # tokens that somebody has used, and may have had no answer to

    def seal(self, place: Place, extent: Extent, rows: Sequence[Columns], state: bytes) -> Sealed:
        return Sealed(self._events.block(place.topic, place.partition, rows), b"")

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        token = token_of(place, extent.first, extent.last)
        again = token in self._begun
        self._begun.add(token)
        async with self._one_at_a_time:
            await asyncio.to_thread(self._events.insert, sealed.content, token, again=again)
        self._begun.discard(token)

    async def holds(self, place: Place, mark: Mark) -> bool:
        """Not known. A former owner may have begun to write it."""
        self._begun.add(token_of(place, mark.extent.first, mark.extent.last))
        return False


def read(settings: Settings) -> Read[Columns]:
    """The records of a chunk as columns."""

    def columns_of(place: Place, records: Sequence[Any]) -> Any:
        columns = EventColumns(settings.clickhouse.keep_ip)
        refusals = columns.read(records)
        return [columns.arrow()] if len(columns) else [], refusals

    return columns_of


def ends(settings: Settings) -> Bounds:
    """Large blocks: ClickHouse merges each with others."""
    limits = settings.clickhouse
    return Bounds(limits.batch_rows, limits.batch_bytes, int(limits.flush_seconds * 1000))


SINK = SinkDeclaration(
    group="analytics-ingest",
    rows=marks("ingest"),
    source=EventSource("events_plugin_ingestion"),
    read=read,
    destination=lambda settings: EventBlocks(AnalyticsEvents(ClickHouse(settings.clickhouse))),
    ends=ends,
    rewriter=lambda settings: EventsRewriter(ClickHouse(settings.clickhouse)),
    help="how far ClickHouse has every captured event",
)
