"""rpc-billing: agent_rpc_metering → settlements per org, agent, consumer and currency on billing_events.

faust -A streamapp.agents.rpc_billing worker -l info
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from streamapp.agents.pages import serve
from streamapp.directory import open_directory
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.poison import poison_limit
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.meters.calls.rpc_codec import RPC
from streamapp.meters.calls.table import CallsTask, calls_parts
from streamapp.meters.calls.view import RpcView
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from tables.door import Door
from tables.window import Rules

GROUP = "rpc-billing"
TOPIC = "agent_rpc_metering"

with starting():
    app = StreamApp(GROUP)
    directory = open_directory(app.settings.directory)
settlement = app.settings.settlement
metering = app.chunk_topic(TOPIC)
retention_ms = registry.topic(TOPIC).retention_ms
assert retention_ms is not None, "it is an event topic"
rules = Rules(settlement.grace_seconds * 1000, retention_ms, names_max=settlement.methods_max)


def calls(place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None) -> CallsTask:
    """A partition's calls and accounts, as they were left."""

    def at_home(key: bytes | None, agent: str) -> bool:
        return key == agent.encode() and partition_for(key, place.partitions) == place.partition

    owner = attrgetter("data.agent_id")
    door = Door(decode_metering, at_home, directory.org_of, owner, "agent")
    worker = app.settings.worker
    limit = poison_limit(worker, position)
    parts = calls_parts(rules, settlement.min_amount, door)
    return CallsTask(parts, place, store, producer, position, limit, worker.ids_in_memory)


source = Source(GROUP, TOPIC, RPC, registry.changelog(GROUP, RPC.name), ("billing_events", "dead_letter"))
metrics = GroupMetrics(GROUP)
idle_ms = int(settlement.idle_seconds * 1000)
view = RpcView(app, metrics, app.clock, RPC)
app.own(source.topic, TableTakeover(source, app.settings, calls, idle_ms, app.clock, metrics.committed))
app.ownership.taken = view.taken
serve(app, view)


@app.agent(metering)
async def settle(stream: Any) -> None:
    """Each chunk of calls is one transaction: rows, settlements, dead letters and the offset, or nothing."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
