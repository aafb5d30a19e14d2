"""The order of a partition's chunks and commits, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import FOLDED_MAX, Partition
from streamapp.lane.records import Record


class Slow:
    """A task whose commits end when they are told to."""

    def __init__(self) -> None:
        self.folded: list[int] = []
        self.begun: list[int] = []
        self.committed: list[int] = []
        self.may_end = asyncio.Semaphore(0)
        self.closed = False

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction | None:
        self.folded.append(records[0].offset)
        return Transaction({}, (), records[0].offset)

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        assert transaction.next_offset is not None
        self.begun.append(transaction.next_offset)
        await self.may_end.acquire()
        self.committed.append(transaction.next_offset)

    def stop_waiting(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


def partition(number: int, task: Slow) -> Partition:
    return Partition(number, task, fetch_from=0, silent_since_ms=0, idle_ms=0, clock=lambda: 0)


async def apply(owned: Partition, offset: int) -> None:
    await owned.apply(owned.chunk([Record(offset, 0, b"k", b"v", ())]))


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_commit_that_lasts_keeps_no_other_partition_waiting() -> None:
    async def run() -> None:
        slow, other = Slow(), Slow()
        first, second = partition(0, slow), partition(1, other)
        for offset in range(FOLDED_MAX):
            await asyncio.wait_for(apply(first, offset), 10)
        await asyncio.wait_for(apply(second, 7), 10)
        assert (slow.begun, slow.committed, other.begun) == ([0], [], [7])

    asyncio.run(run())


def test_chunks_commit_one_after_the_other_and_a_third_is_not_folded_before_the_first_has() -> None:
    async def run() -> None:
        slow = Slow()
        owned = partition(0, slow)
        await apply(owned, 0)
        await apply(owned, 1)
        third = asyncio.create_task(apply(owned, 2))
        await turns()
        assert (slow.folded, slow.begun, third.done()) == ([0, 1], [0], False)
        slow.may_end.release()
        await asyncio.wait_for(third, 10)
        assert (slow.folded, slow.begun, slow.committed) == ([0, 1, 2], [0, 1], [0])
        for _ in range(2):
            slow.may_end.release()
        assert await owned.settled()
        assert slow.committed == [0, 1, 2]

    asyncio.run(run())


def test_a_partition_that_goes_ends_the_commit_under_way_and_begins_no_other() -> None:
    async def run() -> None:
        slow = Slow()
        owned = partition(0, slow)
        await apply(owned, 0)
        await apply(owned, 1)
        third = asyncio.create_task(apply(owned, 2))
        await turns()
        going = asyncio.create_task(owned.release())
        await turns()
        assert (slow.closed, third.done()) == (False, False)
        for _ in range(3):
            slow.may_end.release()
        await asyncio.wait_for(going, 10)
        await asyncio.wait_for(third, 10)
        assert (slow.folded, slow.committed, slow.closed) == ([0, 1], [0], True)

    asyncio.run(run())
