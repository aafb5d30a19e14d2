"""billing-agg with one bug in it, by the environment's `PLANTED_BUG`: what a chaos run must find.

    streamapp chaos --app planted_workers

Each bug comes with a pause at the moment that matters, as a slow broker would make one: a run of half a minute has few
faults, and each of them must hit.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer
from faust.types import TP

from streamapp.agents import billing_agg
from streamapp.exact import declaration
from streamapp.exact.partition import takeover, transaction
from streamapp.exact.partition.chunk import Transaction
from streamapp.kafka.admin import Admin
from streamapp.kafka.partitions import Partition
from streamapp.meters.usage.parts import UsageTask

app = billing_agg.app
SLOW_S = 1.0
EVENT_ID = re.compile(rb'"id":"(evt_[0-9A-Z]{26})"')


class StoredBeforeTheCommit(UsageTask):
    """Rows go to the local store first, and to Kafka then."""

    async def commit(self, transaction: Transaction) -> None:
        if transaction.writes:
            self.store.write(transaction.writes, self.store.checkpoint())
        await asyncio.sleep(SLOW_S)
        await super().commit(transaction)


class OffsetOutsideTheTransaction(UsageTask):
    """The group's offset is committed by itself."""

    async def commit(self, transaction: Transaction) -> None:
        if transaction.next_offset is not None:
            tp = TP(self.place.topic, self.place.partition)
            await app.consumer._thread.commit({tp: transaction.next_offset})
        await asyncio.sleep(SLOW_S)
        await super().commit(transaction._replace(next_offset=None))


class NothingRemembered(UsageTask):
    """An event that comes again counts again: it is given an id of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._known: set[bytes] = set()

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        return super().fold([self._as_new(record) for record in records], now_ms)

    def _as_new(self, record: Any) -> Any:
        found = EVENT_ID.search(record.value or b"")
        if found is None or found[1] not in self._known:
            self._known |= set() if found is None else {found[1]}
            return record
        value = record.value.replace(found[1], b"evt_%026d" % record.offset, 1)
        return SimpleNamespace(
            offset=record.offset, timestamp=record.timestamp, key=record.key, value=value, headers=record.headers
        )


class UnfencedProducer(AIOKafkaProducer):  # type: ignore[misc]
    """Each process is a producer of its own: a former owner is not shut out."""

    def __init__(self, *, transactional_id: str, **options: Any) -> None:
        super().__init__(transactional_id=f"{transactional_id}-{os.getpid()}", **options)

    async def commit_transaction(self) -> None:
        await asyncio.sleep(SLOW_S)
        await super().commit_transaction()


class HastyAdmin(Admin):
    """Does not wait for a former owner's open transaction, which a fence would have ended."""

    def committed(
        self, group: str, partitions: Iterable[Partition] | None = None, *, settled: bool = False
    ) -> dict[Partition, int]:
        return super().committed(group, partitions)


def plant_task(task: type[UsageTask]) -> None:
    vars(declaration)["TableTask"] = task


def plant_offset() -> None:
    plant_task(OffsetOutsideTheTransaction)
    vars(takeover)["check"] = lambda *facts: None  # it would find the offset ahead of the table, and refuse to start


def plant_producer() -> None:
    vars(transaction)["AIOKafkaProducer"] = UnfencedProducer
    vars(takeover)["Admin"] = HastyAdmin


BUGS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "rows stored before the commit": lambda: plant_task(StoredBeforeTheCommit),
    "offset outside the transaction": plant_offset,
    "dedup off": lambda: plant_task(NothingRemembered),
    "fence off": plant_producer,
}
BUGS[os.environ["PLANTED_BUG"]]()
