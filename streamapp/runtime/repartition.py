"""Moving a table to the partitions that its source topic has got since, without losing or doubling.

The order, and what a failure costs at each step. Running it again goes on; workers refuse to start until it is done.

    1  hold every partition's transactional producer, restore the rows       nothing
    2  take back what an unfinished copy left                                 the next run takes it back
    3  fold what the old partitions hold, as their workers would have         nothing: chunks as always
    4  raise the changelog's partitions, and mark each new one as unfinished  workers refuse the old number
    5  copy: every row to each partition that needs it and has it not         copied rows are taken back and copied anew
    6  seal: each partition's position says `-new`                            the first seal says that all copies are
                                                                              there: nothing is folded or copied again
    7  clear: what belongs elsewhere goes                                     the next run goes on clearing
    8  finish: each partition's position says `new`                           all rows are where they belong; a
                                                                              partition is used when it says so

Producers may hold on to the old number of partitions for a while (Kafka's metadata.max.age.ms, 5 minutes by default).
What they send to a team's former partition after step 3 becomes a dead letter `wrong_partition`, to be redriven; wait
that long between raising the topic and this.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer

from streamapp.clock import Clock, monotonic_s
from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.runtime import codec
from streamapp.runtime.chunk import Transaction
from streamapp.runtime.codec import StoredPosition
from streamapp.runtime.ledger_task import Place
from streamapp.runtime.repartition_rows import IDS, OF_TEAMS, copies, is_foreign, position_after, rows_of, settles
from streamapp.runtime.replay import chunks_of, reading, refuse_running, translated
from streamapp.runtime.restore import restore
from streamapp.runtime.store import RocksStore, Writes, stored_position
from streamapp.runtime.takeover import MakeTask, Situation, Source, check, started
from streamapp.runtime.transaction import PartitionProducer
from streamapp.settings import Settings

ROWS_MAX = 5_000  # of a transaction: some megabytes
BYTES_MAX = 4 << 20
SETTLE_S = 15.0
POLL_S = 0.05

Step = Callable[[str], None]
"""Told before each step. What it raises ends the move there, as a crash would."""


class Moved(NamedTuple):
    """What a move did, or, without writing, would do."""

    old: int
    new: int
    folded: int = 0  # records that the old partitions still held
    rows: int = 0  # of teams, that went to other partitions
    ids: int = 0  # rows of remembered ids that were copied

    @property
    def nothing(self) -> bool:
        return self.old == self.new


class Found(NamedTuple):
    """What the cluster says."""

    topic_id: str
    partitions: int
    changelog: int
    outputs: Mapping[str, int]


async def repartition(
    source: Source,
    settings: Settings,
    make_task: MakeTask,
    folder: Path,
    clock: Clock,
    *,
    dry_run: bool = False,
    step: Step = lambda name: None,
) -> Moved:
    """Move the table, or finish a move. `folder` is empty, and of no use afterwards.

    Raises `Refused` while the group runs, `Misconfigured` where table and topic contradict each other.
    """
    kafka = settings.kafka
    admin = Admin(kafka)
    await asyncio.to_thread(refuse_running, admin, source.group)
    found = await asyncio.to_thread(_look, source, admin)
    numbers = range(found.partitions)
    async with translated(), started(kafka, source.group, source.topic, numbers, source.changelog) as producers:
        with ExitStack() as opened:
            stores = {number: RocksStore(folder / str(number)) for number in numbers}
            for store in stores.values():
                opened.callback(store.close)
            await restore(kafka, source.changelog, {number: stores[number] for number in range(found.changelog)})
            move = TableMove(source, settings, make_task, clock, step, admin, found, producers, stores)
            moved = await move.planned() if dry_run else await move.do()
        await asyncio.gather(*(producer.stop() for producer in producers.values()))
    return moved


@dataclass
class TableMove:
    """A move under way."""

    source: Source
    settings: Settings
    make_task: MakeTask
    clock: Clock
    step: Step
    admin: Admin
    found: Found
    producers: Mapping[int, PartitionProducer]
    stores: Mapping[int, RocksStore]

    def __post_init__(self) -> None:
        positions = {number: stored_position(store) for number, store in self.stores.items()}
        self.positions = {number: at for number, at in positions.items() if at is not None}
        counts = {at.partitions for at in self.positions.values()}
        sealed = {-count for count in counts if count < 0}
        self.sealed = bool(sealed)
        self.new = sealed.pop() if sealed else self.found.partitions
        before = {count for count in counts if 0 < count != self.new} or ({self.found.changelog} - {self.new})
        if sealed or len(before) > 1 or max(before, default=0) > self.new or (before and self.new in counts - before):
            if not self.sealed:
                raise Misconfigured(f"partitions of the table {self.source.table} disagree: built with {sorted(counts)}")
        self.old = before.pop() if before and not self._moved(counts) else self.new

    def _moved(self, counts: set[int]) -> bool:
        return counts == {self.new}
