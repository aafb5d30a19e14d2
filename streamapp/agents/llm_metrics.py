"""llm-metrics: llm_usage → counters, durations and true quantiles per provider, model and stream for Prometheus.

faust -A streamapp.agents.llm_metrics worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.directory import open_directory
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.meters.latency.codec import LATENCY
from streamapp.meters.latency.table import LatencyTask, latency_parts
from streamapp.meters.latency.view import LatencyView
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.decode import decode_usage
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from tables.door import Door
from tables.latency import Limits
from tables.window import MINUTE_MS, Rules

GROUP = "llm-metrics"

with starting():
    app = StreamApp(GROUP)
    directory = open_directory(app.settings.directory)
usage = app.chunk_topic("llm_usage")
rules = Rules(grace_ms=app.settings.billing.grace_seconds * 1000)  # as in billing-agg: it counts the same events
limits = Limits(app.settings.metrics.models_max, app.settings.metrics.minutes_kept * MINUTE_MS)


def latency(place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None) -> LatencyTask:
    """A partition's windows and counters, as they were left."""

    def at_home(key: bytes | None, team: str) -> bool:
        return key == team.encode() and partition_for(key, place.partitions) == place.partition

    door = Door(decode_usage, at_home, directory.org_of)
    parts = latency_parts(rules, door, limits)
    return LatencyTask(parts, place, store, producer, position, ids_in_memory=app.settings.worker.ids_in_memory)


source = Source(GROUP, "llm_usage", LATENCY, registry.changelog(GROUP, LATENCY.name), ())
metrics = GroupMetrics(GROUP)
view = LatencyView(app, metrics, app.clock, LATENCY)
app.own(source.topic, TableTakeover(source, app.settings, latency, 0, app.clock, metrics.committed))
app.ownership.taken = view.taken
serve(app, view)


@app.agent(usage)
async def measure(stream: Any) -> None:
    """Each chunk of usage is one transaction: rows and the offset, or nothing."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
