"""Letting a partition go while a chunk waits for the one before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import Partition


class SlowTask:
    """Commits when it is told to, and notes a commit after `close`, which a real producer would refuse."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.committed: list[int | None] = []
        self.closed = self.too_late = False

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        return Transaction({}, (), records[-1].offset)

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        self.too_late |= self.closed
        await self.go_on.wait()
        self.committed.append(transaction.next_offset)

    def stop_waiting(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True


def test_release_finishes_what_is_under_way_and_begins_nothing() -> None:
    task = asyncio.run(released_while_a_chunk_waits())
    assert task.committed == [1]
    assert task.closed
    assert not task.too_late


def record(offset: int) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, timestamp=0)


async def released_while_a_chunk_waits() -> SlowTask:
    task = SlowTask()
    partition = Partition(0, task, fetch_from=0, silent_since_ms=0, idle_ms=1000, clock=lambda: 0)
    await partition.apply(partition.chunk([record(1)]))
    waiting = asyncio.create_task(partition.apply(partition.chunk([record(2)])))
    await asyncio.sleep(0)
    releasing = asyncio.create_task(partition.release())
    await asyncio.sleep(0)
    task.go_on.set()
    await asyncio.gather(waiting, releasing)
    await partition.settled()
    return task
