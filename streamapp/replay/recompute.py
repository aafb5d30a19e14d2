"""Recomputing on purpose: a table put right by the log, and only what changed written (decision 14).

1  take the partitions over as a worker does            fences every worker; a failure costs nothing
2  count each partition's range anew, beside the table  nothing is written
3  for at most 500 changes a transaction: rows to the changelog, statements to their topics
                                                        a failure leaves whole rows done; the next run finds them
                                                        right and goes on with what is left
The group's offsets and the remembered ids stay as they are. What correcting means is the table's own
(`exact/correction.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from streamapp.clock import Clock
from streamapp.dead_letters import read
from streamapp.exact.correction import Comparison, Kept, Range, Shadow
from streamapp.exact.declaration import Declaration, MakeShadow, TableDeclaration
from streamapp.exact.partition.reading import reading
from streamapp.exact.partition.situation import check
from streamapp.exact.partition.takeover import Hold, held
from streamapp.kafka.clients.security import confluent_config
from streamapp.replay.offsets import Move, chunks_of, translated
from streamapp.settings import Settings
from streamapp.store.rocks import RocksStore
from streamapp.store.rows import stored_position
from tables.counters import EXACT

CHANGES_MAX = 500  # of a transaction

Told = Callable[[int], None]
"""Told how many offsets, or changes, are done."""


@dataclass
class Recomputation:
    """The partitions in hand, and how their tables compare with the log."""

    table: TableDeclaration
    hold: Hold
    unreadable: int = 0  # records on dead_letter
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many rows are not what the log says."""
        return sum(len(found.changes) for found in self.comparisons)


class Refusals(NamedTuple):
    """What dead letters say of a topic. `offsets`: partition → offsets that were refused. `unreadable`: how many
    records on `dead_letter` say nothing."""

    offsets: Mapping[int, frozenset[int]]
    unreadable: int


class Published(NamedTuple):
    """What a recomputation wrote."""

    rows: int = 0
    statements: int = 0


@asynccontextmanager
async def recomputation(
    table: TableDeclaration, settings: Settings, clock: Clock, moves: Sequence[Move], folder: Path, told: Told
) -> AsyncIterator[Recomputation]:
    """Steps 1 and 2, of the partitions in `moves`; they are let go when the block ends. `folder`: for their rows.

    Raises what a worker's takeover raises, and `Refused` while the group runs.
    """
    source, numbers = table.origin, [move.partition for move in moves]
    make_shadow = table.make_shadow(settings, clock)
    async with translated(), held(source, settings, numbers, folder) as hold:
        for number in numbers:
            check(source, number, stored_position(hold.stores[number]), hold.situation)
        # Read behind the fence: the group writes no more of them.
        refused = await asyncio.to_thread(refusals, table, settings)
        made = Recomputation(table, hold, refused.unreadable)
        for move in moves:
            known = refused.offsets.get(move.partition, frozenset())
            found = await _compared(made, settings, move, known, make_shadow, told)
            if found is not None:
                made.comparisons.append(found)
        yield made
        await hold.release()


def refusals(table: Declaration, settings: Settings) -> Refusals:
    """What the topic has dead letters about. Blocks."""
    return refusals_of(table, read.refusals(confluent_config(settings.kafka)))


def refusals_of(table: Declaration, all_: Iterable[read.Refusal | read.Unreadable]) -> Refusals:
    """Of all refusals those of the table's topic: by the group itself, or, if it writes no dead letters, by the group
    that does."""
    found: dict[int, set[int]] = {}
    unreadable = 0
    for one in all_:
        if isinstance(one, read.Unreadable):
            unreadable += 1
        elif one.partition is None or one.topic != table.source.topic:
            continue  # about something else
        elif (one.is_group and one.by == table.group) or not table.letters:
            found.setdefault(one.partition, set()).update(one.offsets)
    return Refusals({partition: frozenset(offsets) for partition, offsets in found.items()}, unreadable)


def offsets_to_read(table: TableDeclaration, moves: Sequence[Move]) -> int:
    """How many offsets a recomputation passes over, about; for a progress bar."""
    return sum((move.committed or move.to) - _lead(table, move) for move in moves)


def money(comparisons: Iterable[Comparison]) -> Mapping[str, Decimal]:
    """Currency → what all changes come to, exactly."""
    sums: dict[str, Decimal] = {}
    for change in (change for found in comparisons for change in found.changes):
        if change.money is not None:
            currency, amount = change.money
            sums[currency] = EXACT.add(sums.get(currency, Decimal(0)), amount)
    return dict(sorted(sums.items()))


async def publish(made: Recomputation, at_ms: int, told: Told = lambda changes: None) -> Published:
    """Step 3. `at_ms` is the moment that the statements are stamped with."""
    rows = statements = 0
    correct = made.table.correction.correct
    async with translated():
        for found in made.comparisons:
            kept = found.kept
            producer = made.hold.producers[kept.place.partition]
            for changes in _batches(found.changes):
                transaction = correct(changes, kept, at_ms)
                checkpoint = await producer.commit(transaction)
                assert checkpoint is not None, "a change is a row"
                kept.store.write(transaction.writes, checkpoint)
                rows += len(changes)
                statements += len(transaction.sends)
                told(len(changes))
    return Published(rows, statements)


async def _compared(
    made: Recomputation,
    settings: Settings,
    move: Move,
    refused: frozenset[int],
    make_shadow: MakeShadow,
    told: Told,
) -> Comparison | None:
    """One partition's table beside the log; None where nothing was counted."""
    table, number = made.table, move.partition
    store = made.hold.stores[number]
    position = stored_position(store)
    if position is None:
        return None
    kept = Kept(made.hold.place(number), store, position, table.rules(settings))
    path = made.hold.folder / f"shadow-{number}"
    counted = RocksStore(path, table.rows.unsettled)
    try:
        shadow = Shadow(make_shadow(kept, counted), refused)
        begins = Beginning(move, kept.rules.future_ms)
        done = _lead(table, move)
        async with reading(settings) as consumer:
            most = settings.worker.chunk_records
            async for records in chunks_of(consumer, most, table.source.topic, number, done, position.next_offset):
                begins.note(records)
                await shadow.count(records)
                told(records[-1].offset + 1 - done)
                done = records[-1].offset + 1
        return table.correction.compare(kept, shadow, begins.range)
    finally:
        counted.close()
        RocksStore.wipe(path)


class Beginning:
    """Finds out how late an event before the range can be. An event is at most `future_ms` ahead of its record, and
    records come in the order of the broker's time."""

    def __init__(self, move: Move, future_ms: int) -> None:
        self._start, self._future_ms = move.to, future_ms
        self._newest_ms: int | None = None  # of the records before the range, or of the first one behind a gap
        self._sure = move.to == 0

    def note(self, records: Sequence[Any]) -> None:
        if self._sure:
            return
        for record in records:
            if record.offset < self._start or self._newest_ms is None:
                self._newest_ms = max(record.timestamp, self._newest_ms or 0)
            if record.offset >= self._start:
                self._sure = True
                return

    @property
    def range(self) -> Range:
        return Range(self._start, -1 if self._newest_ms is None else self._newest_ms + self._future_ms)


def _lead(table: TableDeclaration, move: Move) -> int:
    return max(move.start, move.to - table.correction.lead)


def _batches(changes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (changes[at : at + CHANGES_MAX] for at in range(0, len(changes), CHANGES_MAX))
