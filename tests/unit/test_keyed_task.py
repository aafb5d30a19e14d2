"""What is counted of refused records goes on with the next owner: of a keyed table, and of a sink without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import pytest
from usage_log import NowProducer, Rec, now

from streamapp.delivery.sink_task import SinkTask
from streamapp.exact.chunk import Transaction
from streamapp.exact.place import Place
from streamapp.exact.poison import PoisonFlood, PoisonLimit
from streamapp.meters.hourly.codec import RowTable
from streamapp.meters.hourly.table import KeyedTask, keyed_parts
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.store.position import POSITION_KEY, unpack_position
from streamapp.store.rows import MemoryStore, Store, always_settled, stored_position
from tables.admission import OwnerAdmission
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
REFUSING = OwnerAdmission(lambda value: REFUSED, lambda key, owner: True, lambda team: None)


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


class Nowhere:
    """A destination that takes nothing."""

    def parse(self, topic: str, partition: int, record: Any) -> Rejected:
        return REFUSED

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Any]) -> None:
        assert not rows

    async def offsets(self, topic: str) -> dict[int, int]:
        return {}


def sink_task(before: Transaction | None) -> SinkTask[Any]:
    row = None if before is None else before.writes[POSITION_KEY]
    limit = PoisonLimit(1.0, 5, counts=None if row is None else unpack_position(row).poison)
    place = Place("keeper", "billing_events", 0, "id", 1, {"dead_letter": 1})
    return SinkTask(place, MemoryStore(always_settled), NowProducer(0), Nowhere(), limit, lambda reason: None)


def test_a_sink_goes_on_counting_by_its_position_row() -> None:
    first: Transaction = sink_task(None).fold(bad(0, 1, 2), 9_000)
    assert (first.next_offset, len(first.sends)) == (3, 3)
    second = sink_task(first).fold(bad(3, 4), 9_000)
    for _ in range(2):
        with pytest.raises(PoisonFlood, match="6 records in a row were refused"):
            sink_task(second).fold(bad(5), 9_000)
