"""audit-archive: audit_log → objects in an S3-compatible store or a folder, each tied to the one before.

faust -A streamapp.agents.audit_archive worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.archive.store import open_archive
from streamapp.delivery.archive_sink import ArchiveSink
from streamapp.delivery.batch_codec import batch_table
from streamapp.delivery.batch_task import BatchTask, Bounds
from streamapp.delivery.batch_view import BatchView
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.poison import poison_limit
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.audit_line import Line
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry

GROUP = "audit-archive"
ARCHIVE = batch_table("archive")

with starting():
    app = StreamApp(GROUP)
    archive = app.settings.archive
    store = open_archive(archive, app.settings.archive_url)
audit_log = app.chunk_topic("audit_log")
bounds = Bounds(archive.flush_records, archive.flush_bytes, int(archive.flush_seconds * 1000))
metrics = GroupMetrics(GROUP)
view = BatchView(app, metrics, app.clock, ARCHIVE)


def keeper(place: Place, rows: Store, producer: PartitionProducer, position: StoredPosition | None) -> BatchTask[Line]:
    """A partition's archive, as it was left."""
    limit = poison_limit(app.settings.worker, position)
    sink = ArchiveSink(store, place, archive.zstd_level)
    return BatchTask(place, rows, producer, position, sink, bounds, limit, view.kept)


source = Source(GROUP, "audit_log", ARCHIVE, registry.changelog(GROUP, ARCHIVE.name), ("dead_letter",))
# Ticks need not wait for silence: one is due only when a batch is old.
app.own(source.topic, TableTakeover(source, app.settings, keeper, 0, app.clock, metrics.committed))
serve(app, view)


@app.agent(audit_log)
async def keep(stream: Any) -> None:
    """Each batch is promised, written under the name of its offsets, and then committed."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
