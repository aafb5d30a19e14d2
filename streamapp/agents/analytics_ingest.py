"""analytics-ingest: events_plugin_ingestion → ClickHouse's table of events, in blocks of thousands.

faust -A streamapp.agents.analytics_ingest worker -l info
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streamapp.agents.pages import serve
from streamapp.delivery.batch_codec import Extent, Mark, batch_table
from streamapp.delivery.batch_sink import Sealed
from streamapp.delivery.batch_task import BatchTask, Bounds
from streamapp.delivery.batch_view import BatchView
from streamapp.delivery.columns import EventColumns
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.poison import poison_limit
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.metrics import GroupMetrics
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.events import AnalyticsEvents, token_of
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from tables.outcome import Refusal

Columns = Any
"""`pyarrow.RecordBatch`, which has no types."""

GROUP = "analytics-ingest"
INGEST = batch_table("ingest")

with starting():
    app = StreamApp(GROUP)
    limits = app.settings.clickhouse
    events = AnalyticsEvents(ClickHouse(limits))
captured = app.chunk_topic("events_plugin_ingestion")
bounds = Bounds(limits.batch_rows, limits.batch_bytes, int(limits.flush_seconds * 1000))
one_at_a_time = asyncio.Lock()


class EventBlocks:
    """The table of events as a sink of batches. What it calls a row are the rows of a chunk, as columns."""

    def parse(self, records: Sequence[Any]) -> tuple[list[Columns], list[Refusal]]:
        columns = EventColumns(limits.keep_ip)
        refusals = columns.read(records)
        return [columns.arrow()] if len(columns) else [], refusals

    def seal(self, place: Place, extent: Extent, rows: Sequence[Columns], state: bytes) -> Sealed:
        return Sealed(events.block(place.topic, place.partition, rows), b"")

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        token = token_of(place.topic, place.partition, extent.first, extent.last)
        async with one_at_a_time:
            await asyncio.to_thread(events.insert, sealed.content, token)

    async def holds(self, place: Place, mark: Mark) -> bool:
        return False  # its token tells ClickHouse


def blocks(
    place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None
) -> BatchTask[Columns]:
    """A partition's batches, as they were left."""
    limit = poison_limit(app.settings.worker, position)
    return BatchTask(place, store, producer, position, EventBlocks(), bounds, limit, view.kept)


source = Source(GROUP, "events_plugin_ingestion", INGEST, registry.changelog(GROUP, INGEST.name), ("dead_letter",))
metrics = GroupMetrics(GROUP)
view = BatchView(app, metrics, app.clock, INGEST)
app.own(source.topic, TableTakeover(source, app.settings, blocks, 0, app.clock, metrics.committed))
serve(app, view)


@app.agent(captured)
async def ingest(stream: Any) -> None:
    """Chunks are gathered into blocks; each is promised, written, and ended with the offset behind it."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
