"""What is counted of refused records goes on with the next owner: of a keyed table, and of a sink without one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from recounts import compared, published
from usage_log import NowProducer, Rec, now

from streamapp.delivery.sink_task import SinkTask
from streamapp.exact.chunk import Transaction
from streamapp.exact.correction import Correction
from streamapp.exact.place import Place
from streamapp.exact.poison import PoisonFlood, PoisonLimit
from streamapp.meters.row_table import KeyedTask, RowTable, keyed_parts
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.store.position import POSITION_KEY, unpack_position
from streamapp.store.rows import MemoryStore, Store, always_settled, stored_position
from tables.keyed import Recipe, Rows, never
from tables.window import Rules

REFUSED = Rejected(Reason.MALFORMED_JSON, "it is not JSON")


class Key(NamedTuple):
    org: str


class Row(NamedTuple):
    number: int = 0


TABLE = RowTable("counts", Key, Row)
RECIPE = Recipe(lambda value: REFUSED, Rejected, lambda rows, event: None, never)


def bad(*offsets: int) -> list[Rec]:
    return [Rec(b"org", b"{", 1_000 + offset, offset) for offset in offsets]


def table_task(store: Store) -> KeyedTask:
    """The task of whoever takes the partition over."""
    position = stored_position(store)
    limit = PoisonLimit(1.0, 5, counts=None if position is None else position.poison)
    place = Place("counts", "audit_log", 0, "topic-id", 1, {"dead_letter": 1})
    return KeyedTask(keyed_parts(TABLE, RECIPE, Rules()), place, store, NowProducer(0), position, limit)


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


def test_a_row_of_a_table_of_one_mapping_is_replaced_where_the_range_holds_everything() -> None:
    def count(rows: Rows, event: Any) -> None:
        rows[Key("org")] = Row(rows.get(Key("org"), Row()).number + 1)

    def event(value: bytes) -> Any:
        return SimpleNamespace(id=value.decode(), at_ms=1_000)

    log = [Rec(b"org", str(number).encode(), 1_000 + number, number) for number in range(9)]
    parts = keyed_parts(TABLE, Recipe(event, Rejected, count, never), Rules())
    store, place = MemoryStore(always_settled), Place("counts", "audit_log", 0, "topic-id", 1, {})
    task = KeyedTask(parts, place, store, NowProducer(0), None)
    now(task.commit(task.fold(log, 9_000)))
    correction = Correction("rows", TABLE.compare)
    key = TABLE.pack_key(Key("org"))
    right = store.rows[key]
    store.write({key: TABLE.pack(Row(99))}, 1)
    for start, upto in ((4, 0), (2, 2)):  # of the first records, some are not in the range, or not in the log
        found = compared(correction, task, Rules(), log, start, upto=upto, parts=parts)
        assert (found.compared, found.out_of_reach) == (0, 1)
    published(correction, compared(correction, task, Rules(), log, parts=parts))
    assert store.rows[key] == right
    assert compared(correction, task, Rules(), log, parts=parts).changes == []
