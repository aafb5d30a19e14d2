"""One partition in this worker's hands, from takeover to release: the exactness protocol.

A chunk's way, and what a failure costs at each step:

    1  decode and fold in memory     nothing happened; the chunk is folded again by whoever comes next
    2  wait for the chunk before     the same
    3  one transaction: rows to the changelog, statements, dead letters, the source offset
                                     before its commit: nothing happened. Outcome unknown: the process stops, the
                                     next owner's `init_transactions` settles it and the committed offset tells
    4  the same rows to the store    nothing is lost: the changelog has them
    5  the chunk is acknowledged     nothing

Nothing runs beside the chunks of a partition: a tick is a chunk, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition.chunk import Chunk, Transaction
from streamapp.schemas.values.trace import trace_id

log = logging.getLogger(__name__)


class LetGo(Exception):
    """A commit gave up waiting because the partition goes. What it left undone the next owner does."""


class Task(Protocol):
    """What a consumer group does with a partition. Folding is arithmetic; only `commit` touches the world."""

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction | None:
        """Fold records; say what must be written, or None while it can wait."""

    def tick(self, now_ms: int) -> Transaction | None:
        """What the wall clock closes in a silent partition, or None."""

    def tick_due(self, now_ms: int) -> bool:
        """Whether `tick` would write anything."""

    async def commit(self, transaction: Transaction) -> None:
        """Write everything, all or nothing. Called in the order of the folds, one at a time. After an error nobody
        here knows the outcome. Raises `LetGo` after `stop_waiting`."""

    def stop_waiting(self) -> None:
        """The partition is about to go: a commit that waits for anybody but Kafka must give up."""

    async def close(self) -> None:
        """Let the partition go."""


class Partition:
    """An owned partition. Made by a takeover, useless after `release`. `on_commit` is told after each transaction: its
    records, how long it took, how old the first of them is (None: there is none), its trace id."""

    def __init__(
        self,
        number: int,
        task: Task,
        *,
        fetch_from: int | None,
        silent_since_ms: int,
        idle_ms: int,
        clock: Clock,
        on_commit: Callable[[int, float, float | None, str], None] = lambda records, seconds, age_s, trace: None,
    ) -> None:
        self.number = number
        self.task = task
        self.fetch_next = fetch_from  # next offset to arrive; None: wherever the log begins
        self.silent_since_ms = silent_since_ms
        self._idle_ms = idle_ms
        self.released = False
        self.tick_queued = False
        self.high_water = 0
        self.caught_up_ms: int | None = None  # when it was last read to its end
        self.at_end = False  # everything readable was handed over; the last offsets may be control records
        self.gap_seen: tuple[int, int] | None = None  # a hole in the fetched offsets, fetched again once
        self.lost_seen = -1  # the newest batch that could not be read, by its first offset; fetched again once
        self.last_commit_ms: int | None = None
        self.last_record_ms: int | None = None
        self._clock = clock
        self._on_commit = on_commit
        self._under_way: asyncio.Task[None] | None = None
        self.rate = Rate()
        self._handed_over = self._applied = 0
        self._folded_records = 0  # since the last transaction
        self._oldest: tuple[int, str] | None = None  # the first of these: its timestamp and trace id

    def chunk(self, records: Sequence[Any]) -> Chunk:
        """The next chunk, to be handed over in order."""
        self._handed_over += 1
        return Chunk(self, self._handed_over, records, self.high_water)

    async def apply(self, chunk: Chunk) -> None:
        """Do a chunk. Returns when its transaction is under way and all before it have committed."""
        if self.released:
            return
        self._applied += 1
        assert chunk.number == self._applied, f"chunk {chunk.number} of partition {self.number} came out of turn"
        try:
            transaction = self._folded(chunk, self._clock())
        except Exception as error:
            failstop(error, f"folding records of partition {self.number}")
        self._folded_records += len(chunk.records)
        if self._oldest is None and chunk.records:
            first = chunk.records[0]
            self._oldest = first.timestamp, trace_id(getattr(first, "headers", ()))
        if transaction is None:
            return
        if not await self.settled():  # let go while it waited: nothing of the chunk has happened
            return
        records, self._folded_records = self._folded_records, 0
        oldest, self._oldest = self._oldest, None
        self._under_way = asyncio.create_task(self._commit(transaction, records, oldest))

    def _folded(self, chunk: Chunk, now_ms: int) -> Transaction | None:
        if chunk.records:
            self.last_record_ms = self.silent_since_ms = now_ms
            return self.task.fold(chunk.records, now_ms)
        self.tick_queued = False
        return self.task.tick(now_ms) if self._silent(now_ms) else None

    def reached(self, end: int, at_end: bool) -> None:
        """The partition's end as the fetcher knows it, and whether everything up to it was handed over."""
        self.high_water = max(self.high_water, end)
        self.at_end = at_end
        if at_end:
            self.caught_up_ms = self._clock()

    def position(self) -> int:
        """The offset behind what was handed over, for the pages."""
        return self.high_water if self.at_end else self.fetch_next or 0

    async def settled(self) -> bool:
        """Wait until nothing is under way. Returns whether the partition is still in hand."""
        if self._under_way is not None:
            await asyncio.shield(self._under_way)
        return not self.released

    async def release(self) -> None:
        """Let go: take no further chunk, finish the one under way, disconnect."""
        self.released = True
        self.task.stop_waiting()
        await self.settled()
        await self.task.close()

    def tick_due(self) -> bool:
        """Whether the partition has been silent long enough, and has something that the wall clock closes."""
        now_ms = self._clock()
        return not self.tick_queued and not self.released and self._silent(now_ms) and self.task.tick_due(now_ms)

    def _silent(self, now_ms: int) -> bool:
        return now_ms - self.silent_since_ms >= self._idle_ms

    async def _commit(self, transaction: Transaction, records: int, oldest: tuple[int, str] | None) -> None:
        began = monotonic_s()
        try:
            await self.task.commit(transaction)
        except LetGo:
            return
        except Exception as error:
            failstop(error, f"committing partition {self.number}")
        now = monotonic_s()
        self.last_commit_ms = self._clock()
        self.rate.add(records, now)
        sent_ms, trace = oldest or (None, "")
        age_s = None if sent_ms is None else max(0, self.last_commit_ms - sent_ms) / 1000
        self._on_commit(records, now - began, age_s, trace)


class Rate:
    """Records per second: over the last ten seconds, and of each of the last two minutes' seconds."""

    WINDOW_S = 10
    KEPT_S = 120

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, records: int, now_s: float) -> None:
        second = int(now_s)
        self._counts[second] = self._counts.get(second, 0) + records
        while next(iter(self._counts)) < second - self.KEPT_S:
            del self._counts[next(iter(self._counts))]

    def per_s(self, now_s: float) -> float:
        since = int(now_s) - self.WINDOW_S
        return sum(count for second, count in self._counts.items() if second >= since) / self.WINDOW_S

    def recent(self, now_s: float) -> tuple[int, ...]:
        """The records of each full second, oldest first."""
        now = int(now_s)
        return tuple(self._counts.get(second, 0) for second in range(now - self.KEPT_S, now))
