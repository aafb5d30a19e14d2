"""What is counted of refused records goes on with the next owner: of a keyed table, and of a sink."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import pytest
from memory_store import MemoryStore
from usage_log import NowProducer, Rec, now

from streamapp.exact.partition.place import Place
from streamapp.exact.partition.poison import PoisonFlood, PoisonLimit
from streamapp.meters.hourly.codec import RowTable
from streamapp.meters.hourly.table import KeyedTask, keyed_parts
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.settings import Settings
from streamapp.sinks.declaration import each, every_chunk
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import Extent
from streamapp.sinks.task import SinkTask
from streamapp.store.rows import Store, always_settled, stored_position
from tables.admission import Admission
from tables.keyed import Recipe
from tables.window import Rules

REFUSED = Rejected(Reason.MALFORMED_JSON, "it is not JSON")


class Key(NamedTuple):
    start_ms: int
    org_id: str


@dataclass
class Row:
    number: int = 0


TABLE = RowTable("counts", Key, Row, attrgetter("org_id"))
RECIPE = Recipe(lambda start_ms, org, event: Key(start_ms, org), Row, lambda row, event: None)
REFUSING = Admission(lambda value: REFUSED, lambda key, owner: True, lambda team: None)


def bad(*offsets: int) -> list[Rec]:
    return [Rec(b"org", b"{", 1_000 + offset, offset) for offset in offsets]


def table_task(store: Store) -> KeyedTask:
    """The task of whoever takes the partition over."""
    position = stored_position(store)
    limit = PoisonLimit(1.0, 5, counts=None if position is None else position.poison)
    place = Place("counts", "audit_log", 0, "topic-id", 1, {"dead_letter": 1})
    return KeyedTask(keyed_parts(TABLE, RECIPE, Rules(), REFUSING), place, store, NowProducer(0), position, limit)


def test_a_keyed_table_goes_on_counting_where_its_last_owner_stopped() -> None:
    store = MemoryStore(always_settled)
    first = table_task(store)
    now(first.commit(first.fold(bad(0, 1, 2), 9_000)))
    second = table_task(store)
    now(second.commit(second.fold(bad(0, 1, 2), 9_000)))  # read again: applied before, and counted before
    now(second.commit(second.fold(bad(3, 4), 9_000)))
    for owner in (second, table_task(store), table_task(store)):
        with pytest.raises(PoisonFlood, match="6 records in a row were refused"):
            owner.fold(bad(5), 9_000)


def refused(topic: str, partition: int, record: Any) -> Rejected:
    return REFUSED


class Nowhere(Destination[Any]):
    """A destination that has nothing to keep but the offset."""

    keeps_offset = True

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        assert not sealed.content


def sink_task(store: Store, destination: Destination[Any]) -> SinkTask[Any]:
    position = stored_position(store)
    limit = PoisonLimit(1.0, 5, counts=None if position is None else position.poison)
    place = Place("keeper", "billing_events", 0, "id", 1, {"dead_letter": 1})
    ends = every_chunk(Settings())
    return SinkTask(place, store, NowProducer(0), position, destination, each(refused), ends, limit)


@pytest.mark.parametrize("destination", [Destination(), Nowhere()], ids=["promised", "own offset"])
def test_a_sink_goes_on_counting_where_its_last_owner_stopped(destination: Destination[Any]) -> None:
    store = MemoryStore(always_settled)
    first = sink_task(store, destination)
    transaction = first.fold(bad(0, 1, 2), 9_000)
    assert transaction is not None
    assert (transaction.next_offset, len(transaction.sends)) == (3, 3)
    asyncio.run(first.commit(transaction))
    second = sink_task(store, destination)
    transaction = second.fold(bad(3, 4), 9_000)
    assert transaction is not None
    asyncio.run(second.commit(transaction))
    assert second.rejected == 2
    for _ in range(2):
        with pytest.raises(PoisonFlood, match="6 records in a row were refused"):
            sink_task(store, destination).fold(bad(5), 9_000)
