"""Taking partitions over, in this order:

1  start each partition's transactional producer      fences every former owner, aborts what it left open
2  ask Kafka what the topic is and what was committed   now nobody else can move it
3  restore the local rows to the end of the changelog; a destination with an offset of its own is followed
4  compare: what the table counted, what the group committed   refuse to start where they contradict
5  rebuild what the task keeps in memory from the rows; if they are damaged, 3 again, from nothing
6  go: Faust seeks to the committed offsets
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiokafka import TopicPartition

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.partition.owned import Partition, Task
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.restore import open_store, restore
from streamapp.exact.partition.situation import Situation, Source, check, survey
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka.admin import Admin
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.position import StoredPosition
from streamapp.store.rocks import Damaged, RocksStore
from streamapp.store.rows import stored_position

log = logging.getLogger(__name__)

Made = TypeVar("Made", bound=Task)
Answer = TypeVar("Answer")
MakeTask = Callable[[Place, RocksStore, PartitionProducer, StoredPosition | None], Made]
"""Rebuilds the task of a partition from its rows."""

OnCommit = Callable[[int, float, float | None, str], None]  # told after each commit, as `owned.Partition` says


@dataclass(frozen=True)
class TableTakeover:
    """Takes partitions of a table over. `idle_ms`: how long a partition is silent before its task is given ticks.
    `follow`: brings the group and its rows to where a destination has them."""

    source: Source
    settings: Settings
    make_task: MakeTask[Task]
    idle_ms: int
    clock: Clock
    on_commit: OnCommit
    follow: Callable[[Hold], Awaitable[None]] | None = None

    async def __call__(self, numbers: Sequence[int], folder: Path) -> dict[int, Partition]:
        """Raises `Misconfigured` when going on would be wrong. Cancelled or failed half-way it leaves nothing open."""
        began, topic = monotonic_s(), self.source.topic
        async with held(self.source, self.settings, numbers, folder) as hold:
            if self.follow is not None:
                await self.follow(hold)
            partitions = {n: await hold.undamaged(n, partial(self._rebuilt, n, hold)) for n in numbers}
        seconds = monotonic_s() - began
        log.info("took over %s partitions %s in %.2f s, %d rows restored", topic, numbers, seconds, hold.rows)
        return partitions

    def _rebuilt(self, number: int, hold: Hold, store: RocksStore) -> Partition:
        position = stored_position(store)
        check(self.source, number, position, hold.situation)
        return Partition(
            number,
            self.make_task(hold.place(number), store, hold.producers[number], position),
            # Never None: a worker that had the partition before would go on behind what it fetched then.
            fetch_from=hold.situation.committed.get(number, hold.situation.starts[number]),
            silent_since_ms=self.clock() if position is None else position.active_ms,
            idle_ms=self.idle_ms,
            clock=self.clock,
            on_commit=self.on_commit,
        )


@dataclass(slots=True)
class Hold:
    """Partitions that are ours: nobody else can write them, and their rows are here."""

    source: Source
    settings: Settings
    folder: Path
    producers: dict[int, PartitionProducer]
    situation: Situation
    stores: dict[int, RocksStore] = field(default_factory=dict)
    rows: int = 0  # read from the changelog
    renewed: set[Path] = field(default_factory=set)

    async def restore(self, numbers: Sequence[int]) -> None:
        """Open these partitions' rows and bring them to the end of the changelog."""
        table, at = self.source.table, self.situation
        for number in numbers:
            self.stores[number] = open_store(self.folder, table, number, at.changelog_id, at.topic_id)
        try:
            self.rows += await restore(self.settings, self.source.changelog, {n: self.stores[n] for n in numbers})
            return
        except Damaged as error:
            log.warning("%s", error)
            path = error.path
        await self.renew(path, numbers)

    async def renew(self, path: Path, numbers: Sequence[int]) -> None:
        """Throw away the rows in a damaged folder, which is of one of these partitions, and read them again. Once."""
        if path in self.renewed:
            raise Damaged(path, "they were read again, and are so again")
        self.renewed.add(path)
        for number in numbers:
            self.stores.pop(number).close()
        RocksStore.wipe(path)
        await self.restore(numbers)

    async def undamaged(self, number: int, read: Callable[[RocksStore], Answer]) -> Answer:
        """What is read of the partition's rows; they come again from the changelog if they are damaged here."""
        try:
            return read(self.stores[number])
        except Damaged as error:
            log.warning("%s", error)
            path = error.path
        # Only here, where its traceback is gone with the iterators in it: they keep the folder locked.
        await self.renew(path, [number])
        return read(self.stores[number])

    def place(self, number: int) -> Place:
        """Where a partition stands in its cluster."""
        source, at = self.source, self.situation
        return Place(source.group, source.topic, number, at.topic_id, at.partitions, at.outputs, self.folder)

    def close(self) -> None:
        for store in self.stores.values():
            store.close()

    async def release(self) -> None:
        """Let all of them go."""
        self.close()
        await asyncio.gather(*(producer.stop() for producer in self.producers.values()))


@asynccontextmanager
async def held(source: Source, settings: Settings, numbers: Sequence[int], folder: Path) -> AsyncIterator[Hold]:
    """Steps 1 to 3; everything is let go again if the block fails."""
    kafka = settings.kafka
    async with started(kafka, source.group, source.topic, numbers, source.changelog) as producers:
        # A coordinator that has just come back loads its groups first: it is given as long as a commit is.
        admin = Admin(kafka, timeout_s=kafka.delivery_timeout_seconds)
        situation = await asyncio.to_thread(survey, source, numbers, admin)
        hold = Hold(source, settings, folder, producers, situation)
        try:
            await hold.restore(numbers)
            yield hold
        except BaseException:
            hold.close()
            raise


@asynccontextmanager
async def started(
    kafka: KafkaSettings, group: str, topic: str, numbers: Sequence[int], changelog: str | None
) -> AsyncIterator[dict[int, PartitionProducer]]:
    """Each partition's transactional producer, started; stopped again if the block fails."""
    producers = {n: PartitionProducer(kafka, group, TopicPartition(topic, n), changelog) for n in numbers}
    try:
        await asyncio.gather(*(producer.start() for producer in producers.values()))
        yield producers
    except BaseException:
        await asyncio.gather(*(producer.stop() for producer in producers.values()), return_exceptions=True)
        raise
