"""A consumer group that keeps records outside Kafka: the destination's own offset is the truth.

1  parse the records; what cannot be kept becomes a dead letter; too many of these stop the worker
2  the destination: rows and the offset behind them, at once     crash: nothing happened
3  a Kafka transaction: dead letters, the group's offset, and    crash: the destination knows better; the next
   with it a note of how many were refused                       takeover sets the group to where it is
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from streamapp.clock import Clock, monotonic_s
from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.runtime.chunk import Transaction
from streamapp.runtime.letter import TOPIC as DEAD_LETTER
from streamapp.runtime.letter import Origin, letter
from streamapp.runtime.partition import Partition
from streamapp.runtime.poison import PoisonLimit, counts_in, limit_behind, note_of
from streamapp.runtime.takeover import OnCommit, started
from streamapp.runtime.transaction import PartitionProducer
from streamapp.schemas.rejected import Rejected
from streamapp.settings import Settings
from tables.outcome import Refusal

log = logging.getLogger(__name__)

Row = TypeVar("Row")


class Destination(Protocol[Row]):
    """Keeps rows together with the offset behind them."""

    def parse(self, topic: str, partition: int, record: Any) -> Row | Rejected:
        """The row a record makes, or why it cannot be kept. Pure."""

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> object:
        """Rows and offset, all or nothing; rows that are there already are passed over."""

    async def offsets(self, topic: str) -> dict[int, int]:
        """partition → next offset to keep."""


class Kept(NamedTuple):
    """What a chunk asks of the destination, and why it refused the rest."""

    next_offset: int
    rows: Sequence[Any]
    reasons: Sequence[str]


class SinkTask(Generic[Row]):
    """Keeps the records of one partition. Nothing is ever due by the clock."""

    def __init__(
        self,
        group: str,
        topic: str,
        partition: int,
        destination: Destination[Row],
        producer: PartitionProducer,
        letters: int,
        poison: PoisonLimit,
        on_rejected: Callable[[str], None],
    ) -> None:
        self.group = group
        self.topic = topic
        self.partition = partition
        self._destination = destination
        self._producer = producer
        self._letters = letters
        self._poison = poison
        self._on_rejected = on_rejected
        self._kept: list[Kept] = []

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        rows: list[Any] = []
        refusals: list[Refusal] = []
        for record in records:
            row = self._destination.parse(self.topic, self.partition, record)
            if isinstance(row, Rejected):
                refusals.append(Refusal(record, row.reason, row.error))
            else:
                rows.append(row)
        self._poison.check(len(records), records[-1].offset, refusals)
        next_offset = records[-1].offset + 1
        self._kept.append(Kept(next_offset, rows, [refusal.reason for refusal in refusals]))
        origin = Origin(self.group, self.topic, self.partition)
        sends = [letter(record, reason, error, origin, now_ms, self._letters) for record, reason, error in refusals]
        return Transaction({}, sends, next_offset, note_of(self._poison.counts))

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        kept = self._kept.pop(0)
        await self._destination.apply(self.topic, self.partition, kept.next_offset, kept.rows)
        await self._producer.commit(transaction)
        for reason in kept.reasons:
            self._on_rejected(reason)

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self._producer.stop()


@dataclass(frozen=True)
class SinkTakeover(Generic[Row]):
    """Takes partitions of a sink over: the group is set to where the destination is, then goes."""

    group: str
    topic: str
    settings: Settings
    destination: Destination[Row]
    clock: Clock
    on_commit: OnCommit
    on_rejected: Callable[[str], None]

    async def __call__(self, numbers: Sequence[int], folder: Path) -> dict[int, Partition]:
        began = monotonic_s()
        partitions = await self._partitions(numbers)
        seconds = monotonic_s() - began
        log.info("took over %s partitions %s in %.2f s, %d rows restored", self.topic, numbers, seconds, 0)
        return partitions

    async def _partitions(self, numbers: Sequence[int]) -> dict[int, Partition]:
        kafka = self.settings.kafka
        async with started(kafka, self.group, self.topic, numbers, None) as producers:
            admin = Admin(kafka)
            mine = [(self.topic, number) for number in numbers]
            states = await asyncio.to_thread(admin.describe, (self.topic, DEAD_LETTER))
            if DEAD_LETTER not in states:
                raise Misconfigured(f"topic {DEAD_LETTER} is missing; run `streamapp topics apply`")
            kept = await self.destination.offsets(self.topic)
            ends = await asyncio.to_thread(admin.end_offsets, mine)
            seen = await asyncio.to_thread(admin.group, self.group)
            committed = seen.committed or {}
            notes = {number: seen.notes.get((self.topic, number), "") for number in numbers}
            for number in numbers:
                self._check(number, kept.get(number, 0), ends[self.topic, number])
                at = committed.get((self.topic, number), 0)
                await self._align(number, at, kept.get(number, 0), notes[number], producers[number])
            letters = states[DEAD_LETTER].partitions
            tasks = {
                number: SinkTask(
                    self.group,
                    self.topic,
                    number,
                    self.destination,
                    producers[number],
                    letters,
                    limit_behind(self.settings.worker, counts_in(notes[number])),
                    self.on_rejected,
                )
                for number in numbers
            }
            return {
                number: Partition(
                    number,
                    task,
                    fetch_from=kept.get(number, 0),
                    silent_since_ms=self.clock(),
                    idle_ms=0,
                    clock=self.clock,
                    on_commit=self.on_commit,
                )
                for number, task in tasks.items()
            }

    def _check(self, number: int, kept: int, end: int) -> None:
        if kept > end:
            raise Misconfigured(
                f"{self.topic}-{number} ends at {end}, the destination of {self.group} holds it up to {kept}: the "
                f"topic was created again; give the group an empty destination, it is filled from the beginning"
            )

    async def _align(self, number: int, committed: int, kept: int, note: str, producer: PartitionProducer) -> None:
        if committed != kept:
            where = f"{self.topic}-{number}"
            log.warning("%s: group %s is at %d, its destination at %d: going there", where, self.group, committed, kept)
            await producer.commit(Transaction({}, (), kept, note))
