"""A consumer group that keeps records outside Kafka in batches of its own size: each once, whatever happens.

Unlike a database that takes an offset along with the rows (`sink_task`), such a sink has no transaction: it can only
take the same batch twice without harm. So a batch is promised before it is written. Its way, and what a failure costs
at each step:

    1  chunks are gathered until the batch is full or old   nothing happened; they are read again
    2  the batch is sealed: the bytes that are to be written, made in a thread   the same
    3  a transaction: the intent, which names the batch's first and last record  before its commit: nothing happened
    4  the sink writes the batch under that name            the next owner finds the intent, gathers the same records
                                                            and writes them again under the same name: no harm. A frozen
                                                            owner that wakes up here writes just that, too
    5  a transaction: position, the sink's state, dead letters, the source offset, the intent's end
                                                            before its commit: as in 4

A sink that does not answer is asked again, for ever: the partition stands still, its lag grows, nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from streamapp.clock import monotonic_s
from streamapp.delivery.batch_codec import BATCH_KEY, INTENT_KEY, Extent, Mark, pack_mark, unpack_mark
from streamapp.delivery.batch_sink import BatchSink
from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.chunk import Transaction
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.letter import Origin, letter
from streamapp.exact.partition import LetGo
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit
from streamapp.lane.records import since, values_bytes
from streamapp.store.position import POSITION_KEY, PoisonCounts, StoredPosition, pack_position
from streamapp.store.rows import Store, Writes
from tables.outcome import Refusal

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0  # a sink that is back is used within ten seconds
LAST_WORD_S = 2.0  # what a sink that was asked has left to answer when the partition goes

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a batch is full, or old. A batch may be larger by one chunk: it is cut where chunks end."""

    records: int
    size_bytes: int
    age_ms: int


@dataclass(slots=True)
class _Batch(Generic[Row]):
    """Records on their way to the sink; none, where only the offset has to follow what was kept before."""

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


class BatchTask(Generic[Row]):
    """Gathers one partition's records and has them kept. Rebuilt from the store at every takeover."""

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        sink: BatchSink[Row],
        bounds: Bounds,
        poison: PoisonLimit,
        on_kept: Callable[[int, Sequence[Refusal]], None] = lambda records, refusals: None,
    ) -> None:
        self.place = place
        self.store = store
        self.trouble: str | None = None  # why the sink does not take a batch, while it does not
        self.trouble_since_s: float | None = None  # monotonic
        self._producer = producer
        self._sink = sink
        self._bounds = bounds
        self._poison = poison
        self._on_kept = on_kept
        self._next_offset = 0 if position is None else position.next_offset
        self._active_ms = 0 if position is None else position.active_ms
        batch, intent = store.get(BATCH_KEY), store.get(INTENT_KEY)
        self._state = b"" if batch is None else unpack_mark(batch).state
        self._promised = None if intent is None else unpack_mark(intent)
        self._gathering: _Batch[Row] | None = None
        self._cut: list[_Batch[Row]] = []
        self._let_go = asyncio.Event()

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
        if not batch.count:
            await self._producer.commit(transaction)
            del self._cut[0]
            return
        if batch.rows:
            self._state = await self._kept(batch)
        mark = pack_mark(Mark(batch.extent, self._state))
        position = StoredPosition(
            next_offset=batch.last + 1,
            watermark_ms=-1,
            expired_ms=-1,
            topic_id=self.place.topic_id,
            partitions=self.place.partitions,
            active_ms=self._active_ms,
            poison=batch.poison,
        )
        writes: Writes = {BATCH_KEY: mark, INTENT_KEY: None, POSITION_KEY: pack_position(position)}
        await self._land(transaction._replace(writes=writes))
        del self._cut[0]
        self._on_kept(batch.count, batch.refusals)

    def stop_waiting(self) -> None:
        """The partition is about to go. A batch that the sink does not take is the next owner's."""
        self._let_go.set()

    async def close(self) -> None:
        await self._producer.stop()
        self.store.close()

    # -- gathering -----------------------------------------------------------------------------------------------

    def _gather(self, records: Sequence[Any], now_ms: int) -> None:
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch(now_ms, first=records[0].offset)
        rows, refusals = self._sink.parse(records)
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
        origin = Origin(self.place.group, self.place.topic, self.place.partition)
        letters = self.place.outputs[DEAD_LETTER]
        sends = [letter(record, reason, error, origin, now_ms, letters) for record, reason, error in batch.refusals]
        return Transaction({}, sends, batch.last + 1)

    # -- keeping -------------------------------------------------------------------------------------------------

    async def _kept(self, batch: _Batch[Row]) -> bytes:
        """Have the sink keep a batch. Returns the sink's state behind it."""
        promised = batch.promised
        if promised is not None and await self._patiently(lambda: self._sink.holds(self.place, promised), promised):
            return promised.state
        sealed = await asyncio.to_thread(self._sink.seal, self.place, batch.extent, batch.rows, self._state)
        mark = Mark(batch.extent, sealed.state)
        if mark != promised:
            await self._promise(mark)
        await self._patiently(lambda: self._sink.write(self.place, batch.extent, sealed), mark)
        return sealed.state

    async def _promise(self, mark: Mark) -> None:
        await self._land(Transaction({INTENT_KEY: pack_mark(mark)}, (), None))

    async def _patiently(self, ask: Callable[[], Any], promised: Mark) -> Any:
        """Ask the sink until it answers. Raises `LetGo` when the partition goes before that.

        A refusal counts only from the owner: one that was frozen finds its successor's batches and would take them for
        a stranger's. So the promise is made again first, which Kafka denies to all but the owner.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                answer = await self._answer(ask)
            except Unavailable as error:
                self._stands_still(str(error))
            except Misconfigured:
                await self._promise(promised)
                raise
            else:
                self.trouble = self.trouble_since_s = None
                return answer
            try:
                await asyncio.wait_for(self._let_go.wait(), pause_s)
            except TimeoutError:
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                raise LetGo

    def _stands_still(self, why: str) -> None:
        self.trouble = why
        if self.trouble_since_s is None:
            self.trouble_since_s = monotonic_s()
        log.warning("%s-%d stands still: %s", self.place.topic, self.place.partition, why)

    async def _answer(self, ask: Callable[[], Any]) -> Any:
        """What the sink says. A partition that goes does not wait long for it: the next owner asks again."""
        asking, going = asyncio.ensure_future(ask()), asyncio.ensure_future(self._let_go.wait())
        try:
            await asyncio.wait({asking, going}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({asking}, timeout=LAST_WORD_S)
            if not asking.done():
                raise LetGo
            return asking.result()
        finally:
            asking.cancel()
            going.cancel()

    async def _land(self, transaction: Transaction) -> None:
        checkpoint = await self._producer.commit(transaction)
        assert checkpoint is not None, "every transaction of a batch has rows"
        self.store.write(transaction.writes, checkpoint)  # only now: the store is never ahead of the changelog
