"""A consumer group that keeps records outside Kafka: the destination's own offset is the truth.

1  parse the records; what cannot be kept is refused; too many of these stop the worker
2  a Kafka transaction with the dead letters, if there are any   crash: the same dead letters are written again, with
the
                                                                 same ids
3  the destination: rows and the offset behind them, at once     crash: the same
4  a Kafka transaction: the group's offset, and the position     crash: the destination knows better; the next
   row, with how many were refused                               takeover sets the group to where it is

The dead letters come first: behind step 3 nobody reads the chunk again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from streamapp.clock import Clock, monotonic_s
from streamapp.delivery.batch_codec import batch_table
from streamapp.errors import Misconfigured
from streamapp.exact.chunk import Transaction
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.letter import Origin, letter
from streamapp.exact.partition import Partition
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit, counts_in, limit_behind
from streamapp.exact.takeover import Hold, OnCommit, Source, held
from streamapp.kafka.admin import Admin
from streamapp.kafka.groups import GroupSeen
from streamapp.schemas.judging.rejected import Rejected
from streamapp.settings import Settings
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rows import Store, Writes
from streamapp.topics import registry
from tables.outcome import Refusal

log = logging.getLogger(__name__)

Row = TypeVar("Row")

KEPT = batch_table("kept")
"""Rows of a group whose destination has everything else: the position."""


class Destination(Protocol[Row]):
    """Keeps rows together with the offset behind them."""

    def parse(self, topic: str, partition: int, record: Any) -> Row | Rejected | None:
        """The row a record makes, or why it cannot be kept; None: there is nothing to keep of it. Pure."""

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
        place: Place,
        store: Store,
        producer: Producer,
        destination: Destination[Row],
        poison: PoisonLimit,
        on_rejected: Callable[[str], None],
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self._destination = destination
        self._poison = poison
        self._on_rejected = on_rejected
        self._kept: list[Kept] = []

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        place = self.place
        rows: list[Any] = []
        refusals: list[Refusal] = []
        for record in records:
            row = self._destination.parse(place.topic, place.partition, record)
            if isinstance(row, Rejected):
                refusals.append(Refusal(record, row.reason, row.error))
            elif row is not None:
                rows.append(row)
        self._poison.check(len(records), records[-1].offset, refusals)
        next_offset = records[-1].offset + 1
        self._kept.append(Kept(next_offset, rows, [refusal.reason for refusal in refusals]))
        origin, letters = Origin(place.group, place.topic, place.partition), place.outputs[DEAD_LETTER]
        sends = [letter(record, reason, error, origin, now_ms, letters) for record, reason, error in refusals]
        return Transaction(self.position(next_offset, now_ms), sends, next_offset)

    def position(self, next_offset: int, now_ms: int) -> Writes:
        """The position row, the only one: where the group is, and what was refused."""
        place = self.place
        counts = self._poison.counts
        row = StoredPosition(next_offset, -1, -1, place.topic_id, place.partitions, now_ms, poison=counts)
        return {POSITION_KEY: pack_position(row)}

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        kept = self._kept.pop(0)
        if transaction.sends:
            await self.producer.commit(Transaction({}, transaction.sends, None))
        await self._destination.apply(self.place.topic, self.place.partition, kept.next_offset, kept.rows)
        await self.land(transaction._replace(sends=()))
        for reason in kept.reasons:
            self._on_rejected(reason)

    async def land(self, transaction: Transaction) -> None:
        """Commit to Kafka, then keep the row here: the store is never ahead of the changelog."""
        checkpoint = await self.producer.commit(transaction)
        assert checkpoint is not None, "every transaction has the position row"
        self.store.write(transaction.writes, checkpoint)

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.producer.stop()
        self.store.close()


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
        began, changelog = monotonic_s(), registry.changelog(self.group, KEPT.name)
        source = Source(self.group, self.topic, KEPT, changelog, (DEAD_LETTER,))
        async with held(source, self.settings, numbers, folder) as hold:
            kept = await self.destination.offsets(self.topic)
            seen = await asyncio.to_thread(Admin(self.settings.kafka).group, self.group)
            partitions = {}
            for number in numbers:
                offset = kept.get(number, 0)
                self._check(number, offset, hold.situation.ends[number])
                partitions[number] = await self._partition(number, offset, hold, seen)
        seconds = monotonic_s() - began
        log.info("took over %s partitions %s in %.2f s, %d rows restored", self.topic, numbers, seconds, hold.rows)
        return partitions

    async def _partition(self, number: int, kept: int, hold: Hold, seen: GroupSeen) -> Partition:
        note = seen.notes.get((self.topic, number), "")
        position = await hold.position(number)
        # A release before 0030 kept the counts in the offset's metadata: they hold until there is a row.
        counts = counts_in(note) if position is None else position.poison
        limit = limit_behind(self.settings.worker, counts)
        place, store, producer = hold.place(number), hold.stores[number], hold.producers[number]
        task = SinkTask(place, store, producer, self.destination, limit, self.on_rejected)
        await self._align(task, (seen.committed or {}).get((self.topic, number), 0), kept, note)
        return Partition(
            number,
            task,
            fetch_from=kept,
            silent_since_ms=self.clock(),
            idle_ms=0,
            clock=self.clock,
            on_commit=self.on_commit,
        )

    def _check(self, number: int, kept: int, end: int) -> None:
        if kept > end:
            raise Misconfigured(
                f"{self.topic}-{number} ends at {end}, the destination of {self.group} holds it up to {kept}: the "
                f"topic was created again; give the group an empty destination, it is filled from the beginning"
            )

    async def _align(self, task: SinkTask[Row], committed: int, kept: int, note: str) -> None:
        """Set the group to where the destination is, and its offset free of metadata."""
        if committed == kept and not note:
            return
        if committed != kept:
            where = f"{self.topic}-{task.place.partition}"
            log.warning("%s: group %s is at %d, its destination at %d: going there", where, self.group, committed, kept)
        await task.land(Transaction(task.position(kept, self.clock()), (), kept))
