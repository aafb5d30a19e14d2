"""billing-agg: llm_usage → hourly bills per org, team and currency on billing_events.

faust -A streamapp.agents.billing_agg worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.directory import open_directory
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.poison import poison_limit
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.meters.usage.store import USAGE
from streamapp.meters.usage.table import UsageTask, usage_parts
from streamapp.meters.usage.view import UsageView
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.decode import decode_usage
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from tables.door import Door
from tables.window import Rules

GROUP = "billing-agg"

with starting():
    app = StreamApp(GROUP)
    directory = open_directory(app.settings.directory)
usage = app.chunk_topic("llm_usage")
billing = app.settings.billing
rules = Rules(grace_ms=billing.grace_seconds * 1000, names_max=billing.lines_max)


def usage_ledger(place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None) -> UsageTask:
    """A partition's hours, as they were left."""

    def at_home(key: bytes | None, team: str) -> bool:
        return key == team.encode() and partition_for(key, place.partitions) == place.partition

    door = Door(decode_usage, at_home, directory.org_of)
    worker = app.settings.worker
    limit = poison_limit(worker, position)
    return UsageTask(usage_parts(rules, door), place, store, producer, position, limit, worker.ids_in_memory)


source = Source(GROUP, "llm_usage", USAGE, registry.changelog(GROUP, USAGE.name), ("billing_events", "dead_letter"))
metrics = GroupMetrics(GROUP)
view = UsageView(app, metrics, app.clock, USAGE, rules.grace_ms)
idle_ms = int(billing.idle_seconds * 1000)
app.own(source.topic, TableTakeover(source, app.settings, usage_ledger, idle_ms, app.clock, metrics.committed))
app.ownership.taken = view.taken
serve(app, view)


@app.agent(usage)
async def bill(stream: Any) -> None:
    """Each chunk of usage is one transaction: rows, bills, dead letters and the offset, or nothing."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
