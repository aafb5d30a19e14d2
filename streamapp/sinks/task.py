"""A sink as the task of a partition: records are gathered into batches, and each is kept once, whatever happens.

There is one such task. Two destinations differ in what they can do. One keeps the offset behind a batch together with
its rows; the other can only take the same batch twice without harm, so a batch is promised to it before it is written.
The way of a batch, and what a failure costs at each step:

    1  chunks are gathered until the batch is full or old   nothing happened; they are read again
    2  the batch is sealed: the bytes that are to be written, made in a thread   the same
    3  a Kafka transaction                                  before its commit: nothing happened
         promised    the intent, which names the batch's first and last record
         own offset  the dead letters, if there are any: behind step 4 nobody reads the batch again
    4  the destination writes the batch
         promised    under that name                        the next owner finds the intent, gathers the same records
                                                            and writes them again under the same name: no harm. A frozen
                                                            owner that wakes up here writes just that, too
         own offset  with the offset behind it, at once     the next takeover sets the group to where it is; before it,
                                                            dead letters are written again, with the same ids
    5  a Kafka transaction: position, the destination's state, the source offset, the intent's end; dead letters that
       are not there yet                                    before its commit: as in 4

A destination that does not answer is asked again, for ever: the partition stands still, its lag grows, nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from streamapp.errors import Misconfigured
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.letter import letters_of
from streamapp.exact.partition.place import Place, Producer
from streamapp.exact.partition.poison import PoisonLimit
from streamapp.lane.records import since, values_bytes
from streamapp.sinks.destination import Destination
from streamapp.sinks.marks import BATCH_KEY, INTENT_KEY, Extent, Mark, pack_mark, unpack_mark
from streamapp.sinks.patience import Patience
from streamapp.store.position import POSITION_KEY, PoisonCounts, StoredPosition, pack_position
from streamapp.store.rows import Store, Writes
from tables.outcome import Folded, Refusal

log = logging.getLogger(__name__)

Row = TypeVar("Row")
Answer = TypeVar("Answer")
Read = Callable[[Place, Sequence[Any]], tuple[list[Row], list[Refusal]]]
"""What records are as rows, in their order, and those that cannot be kept. A row may stand for many records; there is
none where all were refused. Pure."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a batch is full, or old. A batch may be larger by one chunk: it is cut where chunks end."""

    records: int
    size_bytes: int
    age_ms: int


@dataclass(slots=True)
class _Batch(Generic[Row]):
    """Records on their way to the destination; none, where only the offset has to follow what was kept before."""

    since_ms: int
    first: int = -1
    last: int = -1
    count: int = 0
    size_bytes: int = 0
    rows: list[Row] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    promised: Mark | None = None
    poison: PoisonCounts | None = None  # as of its last record

    @property
    def extent(self) -> Extent:
        return Extent(self.first, self.last, self.count)


class SinkTask(Generic[Row]):
    """Gathers one partition's records and has them kept. Rebuilt from the store at every takeover."""

    letters = True
    duplicates, watermark_ms = 0, -1  # it tells no events apart, and knows no times

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        destination: Destination[Row],
        read: Read[Row],
        bounds: Bounds,
        poison: PoisonLimit,
    ) -> None:
        self.place = place
        self.store = store
        self.rejected = 0  # since the takeover
        self.landed: Callable[[Folded], None] = lambda outcome: None  # the view: told of each batch that was kept
        self.patience = Patience(f"{place.topic}-{place.partition}")
        self._producer = producer
        self._destination = destination
        self._read = read
        self._bounds = bounds
        self._poison = poison
        self._next_offset = 0 if position is None else position.next_offset
        self._active_ms = 0 if position is None else position.active_ms
        batch, intent = store.get(BATCH_KEY), store.get(INTENT_KEY)
        self._state = b"" if batch is None else unpack_mark(batch).state
        self._promised = None if intent is None else unpack_mark(intent)
        self._gathering: _Batch[Row] | None = None
        self._cut: list[_Batch[Row]] = []

    @property
    def gathered(self) -> int:
        """Records that wait for their batch to be full or old."""
        return 0 if self._gathering is None else self._gathering.count

    @property
    def waits_from(self) -> int | None:
        """The offset of the first record that was handed over and is not kept yet; None when all are."""
        if self._cut:
            return self._cut[0].first
        return None if self._gathering is None else self._gathering.first

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction | None:
        """Gather a chunk. A transaction is due when the batch is."""
        self._active_ms = now_ms
        new = since(records, self._next_offset)
        if not new:  # kept before: somebody has put the group back
            self._cut.append(_Batch(now_ms, first=records[0].offset))
            return Transaction({}, (), records[-1].offset + 1)
        self._next_offset = records[-1].offset + 1
        ready = None
        if self._promised is not None:
            behind = since(new, self._promised.extent.last + 1)
            again, new = new[: len(new) - len(behind)], behind
            if again:
                self._gather(again, now_ms)
            if new or again[-1].offset == self._promised.extent.last:
                ready = self._keep_promise()
        if new:
            self._gather(new, now_ms)
        return ready or self._ready(now_ms)

    def tick(self, now_ms: int) -> Transaction | None:
        """Silence: the batch may be old by now."""
        return self._ready(now_ms)

    def tick_due(self, now_ms: int) -> bool:
        return self._promised is None and self._gathering is not None and self._old(self._gathering, now_ms)

    async def commit(self, transaction: Transaction) -> None:
        batch = self._cut[0]
        if batch.count:
            await self._keep(batch, transaction)
        else:
            await self._producer.commit(transaction)
        del self._cut[0]
        self.rejected += len(batch.refusals)
        self.landed(Folded(accepted=batch.count - len(batch.refusals), refusals=batch.refusals))

    def stop_waiting(self) -> None:
        """The partition is about to go. A batch that the destination does not take is the next owner's."""
        self.patience.end()

    async def close(self) -> None:
        await self._producer.stop()
        self.store.close()

    # -- gathering -----------------------------------------------------------------------------------------------

    def _gather(self, records: Sequence[Any], now_ms: int) -> None:
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch(now_ms, first=records[0].offset)
        rows, refusals = self._read(self.place, records)
        self._poison.check(len(records), records[-1].offset, refusals)
        batch.rows += rows
        batch.refusals += refusals
        batch.last = records[-1].offset
        batch.count += len(records)
        batch.size_bytes += values_bytes(records)

    def _ready(self, now_ms: int) -> Transaction | None:
        """The batch, if it is due. One that was promised has its own end."""
        batch = self._gathering
        if batch is None or self._promised is not None:
            return None
        full = batch.count >= self._bounds.records or batch.size_bytes >= self._bounds.size_bytes
        return self._cut_off(batch, now_ms) if full or self._old(batch, now_ms) else None

    def _old(self, batch: _Batch[Row], now_ms: int) -> bool:
        age_ms = now_ms - batch.since_ms
        return age_ms >= self._bounds.age_ms or age_ms < 0  # a clock that was set back must not hold anything up

    def _keep_promise(self) -> Transaction | None:
        """What an earlier owner promised is complete, or its records have left the log meanwhile."""
        promised, batch = self._promised, self._gathering
        assert promised is not None
        self._promised = None
        if batch is None:
            log.error("the records of a promised batch, %s, left the log before they were kept", promised.extent)
            return None
        batch.promised = promised
        return self._cut_off(batch, batch.since_ms)

    def _cut_off(self, batch: _Batch[Row], now_ms: int) -> Transaction:
        self._gathering = None
        batch.poison = self._poison.counts
        self._cut.append(batch)
        return Transaction({}, letters_of(batch.refusals, self.place, now_ms), batch.last + 1)

    # -- keeping -------------------------------------------------------------------------------------------------

    async def _keep(self, batch: _Batch[Row], transaction: Transaction) -> None:
        own_offset = self._destination.keeps_offset
        if own_offset and transaction.sends:
            await self._producer.commit(Transaction({}, transaction.sends, None))
            transaction = transaction._replace(sends=())
        if batch.rows or own_offset:
            self._state = await self._written(batch)
        position = StoredPosition(
            next_offset=batch.last + 1,
            watermark_ms=-1,
            expired_ms=-1,
            topic_id=self.place.topic_id,
            partitions=self.place.partitions,
            active_ms=self._active_ms,
            poison=batch.poison,
        )
        writes: Writes = {BATCH_KEY: pack_mark(Mark(batch.extent, self._state)), POSITION_KEY: pack_position(position)}
        if not own_offset:
            writes[INTENT_KEY] = None
        await self._land(transaction._replace(writes=writes))

    async def _written(self, batch: _Batch[Row]) -> bytes:
        """Have the destination keep a batch. Returns its state behind it."""
        place, destination, promised = self.place, self._destination, batch.promised
        if promised is not None and await self._asked(lambda: destination.holds(place, promised), promised):
            return promised.state
        sealed = await asyncio.to_thread(destination.seal, place, batch.extent, batch.rows, self._state)
        mark = Mark(batch.extent, sealed.state)
        if mark != promised:
            await self._promise(mark)
        await self._asked(lambda: destination.write(place, batch.extent, sealed), mark)
        return sealed.state

    async def _promise(self, mark: Mark) -> None:
        """Kafka takes it from the partition's owner only."""
        if not self._destination.keeps_offset:
            await self._land(Transaction({INTENT_KEY: pack_mark(mark)}, (), None))

    async def _asked(self, question: Callable[[], Awaitable[Answer]], promised: Mark) -> Answer:
        """What the destination says.

        A refusal counts only from the owner: one that was frozen finds its successor's batches and would take them for
        a stranger's. So the promise is made again first, which Kafka denies to all but the owner.
        """
        try:
            return await self.patience.ask(question)
        except Misconfigured:
            await self._promise(promised)
            raise

    async def _land(self, transaction: Transaction) -> None:
        checkpoint = await self._producer.commit(transaction)
        assert checkpoint is not None, "every transaction of a batch has rows"
        self.store.write(transaction.writes, checkpoint)  # only now: the store is never ahead of the changelog
