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
What they send to a key's former partition after step 3 becomes a dead letter `wrong_partition`, to be redriven; wait
that long between raising the topic and this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import msgspec

from streamapp.clock import Clock
from streamapp.errors import Refused
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import Task
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.reading import RecordsConsumer, reading
from streamapp.exact.partition.restore import restore
from streamapp.exact.partition.situation import Situation, Source, check
from streamapp.exact.partition.takeover import MakeTask, started
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka.admin import Admin
from streamapp.replay.offsets import await_members_gone, chunks_of, translated
from streamapp.replay.repartition_rows import IDS, copies, is_foreign, position_after, rows_of, settles
from streamapp.replay.repartition_stage import Found, Stage, await_partitions, look, stage_of, survey
from streamapp.settings import Settings
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rocks import RocksStore
from streamapp.store.rows import Writes, stored_position

ROWS_MAX = 5_000  # of a transaction: some megabytes
BYTES_MAX = 4 << 20

Step = Callable[[str], None]
"""Told before each step. What it raises ends the move there, as a crash would."""


class Moved(NamedTuple):
    """What a move did, or, without writing, would do. `done`: there was nothing to do."""

    stage: Stage
    folded: int = 0  # records that the old partitions still held
    rows: int = 0  # that went to other partitions with their record keys
    ids: int = 0  # rows of remembered ids that were copied

    @property
    def done(self) -> bool:
        return self.stage.old == self.stage.new and not self.stage.sealed


async def repartition(
    source: Source,
    settings: Settings,
    make_task: MakeTask[Task],
    folder: Path,
    clock: Clock,
    *,
    dry_run: bool = False,
    step: Step = lambda name: None,
) -> Moved:
    """Move the table, or finish a move. `folder` is empty, and of no use afterwards.

    Raises `Refused` while the group runs and for a table that cannot follow, `Misconfigured` where table and topic
    contradict each other.
    """
    if source.table.home is None:
        raise Refused(f"the table {source.table.name} does not move: {source.table.how_to_grow}")
    kafka = settings.kafka
    admin = Admin(kafka)
    await await_members_gone(admin, source.group, settings.worker.session_timeout_seconds, step)
    found = await asyncio.to_thread(look, source, admin)
    numbers = range(found.partitions)
    async with translated(), started(kafka, source.group, source.topic, numbers, source.changelog) as producers:
        with ExitStack() as opened:
            stores = {number: RocksStore(folder / str(number), source.table.unsettled) for number in numbers}
            for store in stores.values():
                opened.callback(store.close)
            await restore(settings, source.changelog, {number: stores[number] for number in range(found.changelog)})
            positions = {number: at for number in numbers if (at := stored_position(stores[number])) is not None}
            begun = stage_of(positions.values(), found.changelog, found.partitions)
            move = TableMove(
                source, settings, make_task, clock, step, admin, found, begun, producers, stores, positions
            )
            moved = await move.planned() if dry_run else await move.do()
        await asyncio.gather(*(producer.stop() for producer in producers.values()))
    return moved


@dataclass(frozen=True)
class TableMove:
    """A move under way. `positions` are the position rows as they stand in the changelog."""

    source: Source
    settings: Settings
    make_task: MakeTask[Task]
    clock: Clock
    step: Step
    admin: Admin
    found: Found
    stage: Stage
    producers: Mapping[int, PartitionProducer]
    stores: Mapping[int, RocksStore]
    positions: dict[int, StoredPosition]

    async def planned(self) -> Moved:
        """What `do` would do. Writes nothing."""
        if self.stage.old == self.stage.new:
            return Moved(self.stage)
        situation = await asyncio.to_thread(survey, self.source, self.admin, self.found, self.stage.old)
        lag = 0
        for number in range(self.stage.old):
            lag += situation.ends[number] - (self.positions[number].next_offset if number in self.positions else 0)
        kinds = [key[:1] for number in range(self.stage.old) for _, key, _ in self._copies(number)]
        return Moved(self.stage, lag, len(kinds) - kinds.count(IDS), kinds.count(IDS))

    async def do(self) -> Moved:
        """Steps 2 to 8, or those that are left."""
        moved = Moved(self.stage)
        if moved.done:
            return moved
        if not self.stage.sealed:
            await self._take_back()
            folded = await self._fold()
            await self._raise_changelog()
            rows, ids = await self._copy()
            moved = Moved(self.stage, folded, rows, ids)
        await self._seal()
        await self._clear()
        await self._finish()
        return moved

    async def _take_back(self) -> None:
        """Step 2. What an earlier run copied is older than what the old partitions will say."""
        old = self.stage.old
        if self.found.changelog == old:
            return  # nothing was copied before the changelog had the new partitions
        for number in range(0 if self.stage.new % old else old, self.found.changelog):
            rows = self._foreign(number, old) if number < old else rows_of(self.source.table, self.stores[number])
            await self._remove(f"take back {number}", number, rows)

    async def _fold(self) -> int:
        """Step 3, up to the ends that the old partitions have now. Returns how many records."""
        situation = await asyncio.to_thread(survey, self.source, self.admin, self.found, self.stage.old)
        count = 0
        async with reading(self.settings) as consumer:
            for number in range(self.stage.old):
                position = self.positions.get(number)
                check(self.source, number, position, situation)
                self.step(f"fold {number}")
                count += await self._fold_one(consumer, number, position, situation)
                at = stored_position(self.stores[number])
                if at is not None:
                    self.positions[number] = at
        return count

    async def _fold_one(
        self, consumer: RecordsConsumer, number: int, position: StoredPosition | None, situation: Situation
    ) -> int:
        source, old, new = self.source, self.stage.old, self.stage.new
        place = Place(source.group, source.topic, number, situation.topic_id, old, situation.outputs)
        task = self.make_task(place, self.stores[number], self.producers[number], position)
        start, end = 0 if position is None else position.next_offset, situation.ends[number]
        count, most = 0, self.settings.worker.chunk_records
        async for records in chunks_of(consumer, most, source.topic, number, start, end):
            # From the first record on that came by the new number, the others are for the worker that has the rows.
            staying = takewhile(lambda record: not settles(record.key, number, old, new), records)
            fit = records[: sum(1 for _ in staying)]
            if fit:
                transaction = task.fold(fit, self.clock())
                assert transaction is not None, "a table with keys writes every chunk"
                await task.commit(transaction)
                count += len(fit)
            if len(fit) < len(records):
                break
        return count

    async def _raise_changelog(self) -> None:
        """Step 4."""
        old, new, changelog = self.stage.old, self.stage.new, self.source.changelog
        if self.found.changelog < new:
            self.step("raise")
            await asyncio.to_thread(self.admin.add_partitions, changelog, new)
            await asyncio.to_thread(await_partitions, self.admin, changelog, new)
        for number in range(old, new):
            self.step(f"mark {number}")
            await self._put(number, StoredPosition(0, -1, -1, self.found.topic_id, old, 0))

    async def _copy(self) -> tuple[int, int]:
        """Step 5. Returns how many rows with a home, and how many of ids."""
        waiting: dict[int, Writes] = {number: {} for number in range(self.stage.new)}
        bytes_waiting = dict.fromkeys(waiting, 0)
        rows = ids = 0
        for number in range(self.stage.old):
            self.step(f"copy {number}")
            for target, key, value in self._copies(number):
                rows, ids = (rows, ids + 1) if key[:1] == IDS else (rows + 1, ids)
                waiting[target][key] = value
                bytes_waiting[target] += len(key) + len(value)
                if len(waiting[target]) >= ROWS_MAX or bytes_waiting[target] >= BYTES_MAX:
                    await self._write(target, waiting[target])
                    waiting[target], bytes_waiting[target] = {}, 0
        for target, writes in waiting.items():
            self.step(f"copied {target}")
            await self._write(target, writes)
        return rows, ids

    async def _seal(self) -> None:
        """Step 6. The last new partition is sealed last: until then the old number stands somewhere."""
        old, new = self.stage.old, self.stage.new
        before = dict(self.positions)
        for number in range(new):
            at = before.get(number)
            if at is not None and at.partitions in (-new, new):
                continue
            self.step(f"seal {number}")
            position = position_after(number, before, self.found.topic_id, old, new)
            next_offset = 0 if number >= old else None
            await self._put(number, msgspec.structs.replace(position, partitions=-new), next_offset)

    async def _clear(self) -> None:
        """Step 7."""
        new = self.stage.new
        for number in range(new):
            await self._remove(f"clear {number}", number, self._foreign(number, new))

    async def _finish(self) -> None:
        """Step 8."""
        new = self.stage.new
        for number in range(new):
            if self.positions[number].partitions != new:
                self.step(f"finish {number}")
                await self._put(number, msgspec.structs.replace(self.positions[number], partitions=new))

    # -- rows ----------------------------------------------------------------------------------------------------

    def _copies(self, number: int) -> Iterator[tuple[int, bytes, bytes]]:
        table, old, new = self.source.table, self.stage.old, self.stage.new
        for key, value in rows_of(table, self.stores[number]):
            yield from copies(table, key, value, number, old, new)

    def _foreign(self, number: int, partitions: int) -> Iterator[tuple[bytes, bytes]]:
        table = self.source.table
        rows = rows_of(table, self.stores[number])
        return ((key, value) for key, value in rows if is_foreign(table, key, value, number, partitions))

    async def _put(self, number: int, position: StoredPosition, next_offset: int | None = None) -> None:
        writes: Writes = {POSITION_KEY: pack_position(position)}
        await self.producers[number].commit(Transaction(writes, (), next_offset))
        self.positions[number] = position

    async def _remove(self, name: str, number: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self.step(name)
        keys = [key for key, _ in rows]
        for at in range(0, len(keys), ROWS_MAX):
            gone: Writes = dict.fromkeys(keys[at : at + ROWS_MAX])
            await self._write(number, gone)
            self.stores[number].write(gone, self.stores[number].checkpoint())

    async def _write(self, number: int, writes: Writes) -> None:
        if writes:
            await self.producers[number].commit(Transaction(writes, (), None))
