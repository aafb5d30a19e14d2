"""Taking partitions over, in this order:

1  start each partition's transactional producer      fences every former owner, ends what it left open
2  ask Kafka what the topic is and what was committed   now nobody else can move it
3  restore the local rows to the end of the changelog; a destination with an offset of its own is followed
4  compare: what the table counted, what the group committed   refuse to start where they contradict
5  rebuild what the task keeps in memory from the rows; if they are damaged, 3 again, from nothing
6  go: Faust seeks to the committed offsets
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from aiokafka import TopicPartition

from streamapp.clock import Clock, monotonic_s
from streamapp.errors import Misconfigured
from streamapp.exact.needs import Needs
from streamapp.exact.partition.owned import Partition, Task
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.restore import open_store, refuse_deleting, restore
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka.admin import Admin
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.position import StoredPosition
from streamapp.store.rocks import Damaged, RocksStore
from streamapp.store.rows import stored_position
from streamapp.store.table import Table

log = logging.getLogger(__name__)

Made = TypeVar("Made", bound=Task)
Answer = TypeVar("Answer")
MakeTask = Callable[[Place, RocksStore, PartitionProducer, StoredPosition | None], Made]
"""Rebuilds the task of a partition from its rows."""

OnCommit = Callable[[int, float, float | None, str], None]  # told after each commit, as `owned.Partition` says


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that a group's table is made from, and where the table's rows go."""

    group: str
    topic: str
    table: Table
    changelog: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What Kafka says, once the partitions are ours."""

    topic_id: str
    changelog_id: str
    partitions: int
    outputs: dict[str, int]
    committed: dict[int, int]
    starts: dict[int, int]
    ends: dict[int, int]


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


def survey(source: Source, numbers: Iterable[int], admin: Admin) -> Situation:
    """Ask Kafka about the source, the outputs and the group. Blocks."""
    names = (source.topic, source.changelog, *source.outputs)
    states = admin.describe(names, settings_of=(source.changelog,))
    Needs(names, lambda: frozenset(states)).demand()
    topic = states[source.topic]
    if states[source.changelog].partitions != topic.partitions:
        raise Misconfigured(
            f"{source.topic} has {topic.partitions} partitions, its table's changelog {source.changelog} has "
            f"{states[source.changelog].partitions}: {source.table.how_to_grow}"
        )
    refuse_deleting(source.changelog, states[source.changelog].configs)
    outputs = {name: states[name].partitions for name in source.outputs}
    ids = topic.topic_id, states[source.changelog].topic_id
    return situated(source, numbers, admin, ids, topic.partitions, outputs)


def situated(
    source: Source, numbers: Iterable[int], admin: Admin, ids: tuple[str, str], partitions: int, outputs: dict[str, int]
) -> Situation:
    """The topics are known, the source and its changelog by their `ids`; ask about offsets. Blocks."""
    mine = [(source.topic, number) for number in numbers]
    return Situation(
        *ids,
        partitions,
        outputs,
        starts=_by_number(admin.start_offsets(mine)),
        ends=_by_number(admin.end_offsets(mine)),
        committed=_by_number(admin.committed(source.group, mine, settled=True)),
    )


def _by_number(offsets: Mapping[tuple[str, int], int]) -> dict[int, int]:
    return {number: offset for (_, number), offset in offsets.items()}


def check(source: Source, number: int, position: StoredPosition | None, situation: Situation) -> None:
    """Refuse a table that does not belong to the topic as it is; say so when offsets were put back (decision 14)."""
    where, group = f"{source.topic}-{number}", source.group
    committed, start = situation.committed.get(number), situation.starts[number]
    tool = f"kafka-consumer-groups --bootstrap-server … --group {group} --topic {source.topic}:{number} --execute"
    if position is None:
        if committed is not None and committed > start:
            raise Misconfigured(
                f"group {group} has committed offset {committed} of {where}, but its table has counted nothing: the "
                f"changelog {source.changelog} was lost or the group was set ahead; put the group back with "
                f"`{tool} --reset-offsets --to-earliest`"
            )
        return
    if position.topic_id != situation.topic_id:
        raise Misconfigured(
            f"{source.topic} was deleted and created again, or this is another cluster: its offsets start over and the "
            f"table {source.table.name} counted other records; restore the topic, or begin a new "
            f"table: without {source.changelog}, the group and {source.table.name}'s rows on every host; see "
            f"docs/runbook.md, A new table"
        )
    if position.partitions < 0:
        raise Misconfigured(
            f"the table {source.table.name} is being moved to {-position.partitions} partitions, and the move is not "
            f"finished: run `streamapp repartition --table {source.table.name}` again"
        )
    if position.partitions != situation.partitions and source.table.keyed:
        raise Misconfigured(
            f"{source.topic} has {situation.partitions} partitions, the table {source.table.name} was built with "
            f"{position.partitions}: {source.table.how_to_grow}"
        )
    if committed is not None and committed > max(position.next_offset, start):
        raise Misconfigured(
            f"group {group} was set ahead: committed offset {committed} of {where}, counted up to "
            f"{position.next_offset}; put it back with `{tool} --reset-offsets --to-offset {position.next_offset}`"
        )
    if situation.ends[number] < position.next_offset:
        raise Misconfigured(
            f"{where} ends at {situation.ends[number]}, the table counted up to {position.next_offset}: "
            f"records were lost from the topic"
        )
    _tell(group, where, position.next_offset, committed, start)


def _tell(group: str, where: str, counted: int, committed: int | None, start: int) -> None:
    """What does not stop the worker, but must not pass in silence."""
    if not counted and committed is None:  # nothing was ever read
        return
    if start > counted:
        log.error(
            "offsets %d to %d of %s expired before group %s had them: records, unless they are ends of transactions",
            *(counted, start - 1, where, group),
        )
    if committed is None or committed < counted:
        log.warning(
            "group %s was put back to %s of %s: records up to %d were counted before, they are read again and skipped",
            group,
            "the beginning" if committed is None else committed,
            where,
            counted,
        )
