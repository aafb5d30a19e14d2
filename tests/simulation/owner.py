"""A partition's owner as a coroutine that takes the steps of the protocol: one transaction per chunk.

It can be stopped at every step: for good (a crash), or to go on later when somebody else has taken over (a frozen
process). The task, the rows' bytes, the store and the comparison at takeover are the worker's own code.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fake_kafka import Entry, Log, OutcomeUnknown
from memory_store import UsageStore

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.situation import Situation, Source, check
from streamapp.meters.usage.parts import UsageTask
from streamapp.meters.usage.store import USAGE
from streamapp.store.rows import Writes, stored_position
from tables.window import MINUTE_MS

if TYPE_CHECKING:
    from world import World

IDLE_MS = MINUTE_MS
TOPIC_ID = "topic-id"
OUTPUTS = {"billing_events": 1, "dead_letter": 1}
SOURCE = Source("billing-agg", "llm_usage", USAGE, "changelog", tuple(OUTPUTS))


class Step:
    """A point at which a process may die or freeze."""

    def __await__(self) -> Generator[None]:
        yield


class Producer:
    """A partition's transactional producer. Raises `Fenced` and `OutcomeUnknown`; both end the process."""

    def __init__(self, world: World, partition: int) -> None:
        self.world = world
        self.partition = partition
        self.epoch = world.kafka.start_producer(partition)

    async def commit(self, transaction: Transaction) -> int | None:
        kafka, checkpoint = self.world.kafka, None
        await Step()
        txn = kafka.begin(self.partition, self.epoch)
        await Step()
        for key, row in transaction.writes.items():
            checkpoint = 1 + kafka.send(txn, kafka.changelogs[self.partition], key, row)
            await Step()
        for send in transaction.sends:
            kafka.send(txn, kafka.outputs[send.topic], send.key, send.value)
            await Step()
        txn.offset = transaction.next_offset
        await Step()
        if self.world.happens(0.02):
            if self.world.happens(0.5):
                kafka.commit(txn)
            raise OutcomeUnknown
        kafka.commit(txn)
        await Step()
        return checkpoint

    async def stop(self) -> None:
        pass


class Owner:
    """One partition in one process's hands, from takeover until the process dies or lets go."""

    def __init__(self, world: World, partition: int, store: UsageStore) -> None:
        self.world = world
        self.partition = partition
        self.store = store
        self.producer: Producer | None = None
        self.task: UsageTask | None = None
        self.resting = False  # all is read, nothing is due
        self.life = self.live()
        self.life.send(None)

    async def live(self) -> None:
        """The steps of section 3, in order."""
        world, kafka, number = self.world, self.world.kafka, self.partition
        await Step()
        self.producer = Producer(world, number)  # fences every former owner
        await Step()
        log, committed = kafka.usage[number], dict(kafka.offsets)
        await self.restore(kafka.changelogs[number])
        position = stored_position(self.store)
        count = len(kafka.usage)
        check(
            SOURCE,
            number,
            position,
            Situation(TOPIC_ID, "changelog", count, OUTPUTS, committed, {number: 0}, {number: len(log)}),
        )
        task = self.task = world.make_task(number, self.store, self.producer)
        fetch_next = committed.get(number, 0)
        silent_since_ms = world.now_ms if position is None else position.active_ms
        folded: Transaction | None = None  # while its commit has not begun, the next chunk may be folded
        while True:
            await Step()
            transaction = None
            if records := log[fetch_next : fetch_next + world.rng.randint(1, 15)]:
                fetch_next, silent_since_ms = records[-1].offset + 1, world.now_ms
                transaction = task.fold(records, world.now_ms)
            elif world.idle and world.now_ms - silent_since_ms >= IDLE_MS:
                transaction = task.tick(world.now_ms)
            if folded is not None:
                await task.commit(folded)
            folded = transaction
            if folded is not None and world.happens(0.6):
                await task.commit(folded)
                folded = None
            self.resting = folded is None and fetch_next >= len(log)

    async def restore(self, changelog: Log) -> None:
        """Apply what the changelog has beyond the store's checkpoint, in pieces."""
        batch: list[tuple[int, Entry]] = []
        for entry in self.world.to_restore(changelog, self.store.checkpoint()):
            batch.append(entry)
            if self.world.happens(0.2):
                self._apply(batch)
                batch = []
                await Step()
        self._apply(batch)

    def _apply(self, batch: list[tuple[int, Entry]]) -> None:
        if batch:
            writes: Writes = {entry.key: entry.value for _, entry in batch if entry.key is not None}
            self.store.write(writes, batch[-1][0] + 1)
