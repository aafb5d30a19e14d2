"""Recomputing on purpose: a table put right by the log, and only what changed published, as revisions (decision 14).

1  take the partitions over as a worker does            fences every worker; a failure costs nothing
2  count each partition's range anew, beside the table  nothing is written
3  for at most 500 hours a transaction: rows to the changelog, statements to `billing_events`
                                                        a failure leaves whole hours done; the next run finds them
                                                        right and goes on with what is left
The group's offsets and the remembered ids stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from streamapp.exact.chunk import Send, Transaction
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.place import Place
from streamapp.exact.reading import reading
from streamapp.exact.takeover import Hold, MakeTask, Source, check, held
from streamapp.kafka.log.reader import read
from streamapp.kafka.security import confluent_config
from streamapp.meters.usage import codec, statement
from streamapp.meters.usage.parts import BILLS, UsageTask
from streamapp.replay.offsets import Move, chunks_of, translated
from streamapp.replay.shadow import Change, Comparison, Shadow, compare, lines_of
from streamapp.settings import Settings
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store, Writes, stored_position
from tables.counters import Counters
from tables.outcome import Rows
from tables.usage.hourly import Line, UsageRow, month_key, state
from tables.window import HOUR_MS

HOURS_MAX = 500  # of a transaction
LEAD_RECORDS = 10_000
"""Read before the range, so that the shadow's watermark stands where it stood: what is remembered depends on it."""

Told = Callable[[int], None]
"""Told how many offsets, or hours, are done."""


@dataclass
class Recomputation:
    """The partitions in hand, and how their tables compare with the log."""

    hold: Hold
    tasks: dict[int, UsageTask]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many hours are not what the log says."""
        return sum(len(found.changes) for found in self.comparisons)


class Published(NamedTuple):
    """What a recomputation wrote."""

    rows: int = 0
    statements: int = 0


@asynccontextmanager
async def recomputation(
    source: Source, settings: Settings, make_task: MakeTask[UsageTask], moves: Sequence[Move], folder: Path, told: Told
) -> AsyncIterator[Recomputation]:
    """Steps 1 and 2, of the partitions in `moves`; they are let go when the block ends. `folder`: for their rows.

    Raises what a worker's takeover raises, and `Refused` while the group runs.
    """
    numbers = [move.partition for move in moves]
    async with translated(), held(source, settings, numbers, folder) as hold:
        tasks: dict[int, UsageTask] = {}
        for number in numbers:
            store = hold.stores[number]
            position = stored_position(store)
            check(source, number, position, hold.situation)
            tasks[number] = make_task(hold.place(number), store, hold.producers[number], position)
        made = Recomputation(hold, tasks)
        refused = await asyncio.to_thread(refusals, source, settings)
        for move in moves:
            found = await _compared(made, source, settings, move, refused.get(move.partition, frozenset()), told)
            if found is not None:
                made.comparisons.append(found)
        yield made
        await hold.release()


def refusals(source: Source, settings: Settings) -> Mapping[int, frozenset[int]]:
    """Partition → offsets that the group has written a dead letter about. Blocks."""
    found: dict[int, set[int]] = {}
    for record in read(confluent_config(settings.kafka), DEAD_LETTER):
        try:
            data = _read_letter(record.value or b"").data
        except msgspec.DecodeError:
            continue  # somebody else's, about something else
        if data.group == source.group and data.source_topic == source.topic:
            last = data.source_offset if data.source_last_offset is None else data.source_last_offset
            found.setdefault(data.source_partition, set()).update(range(data.source_offset, last + 1))
    return {partition: frozenset(offsets) for partition, offsets in found.items()}


def offsets_to_read(moves: Sequence[Move]) -> int:
    """How many offsets a recomputation passes over, about; for a progress bar."""
    return sum((move.committed or move.to) - _lead(move) for move in moves)


async def publish(made: Recomputation, at_ms: int, told: Told = lambda hours: None) -> Published:
    """Step 3. `at_ms` is the moment that the statements are stamped with."""
    published = Published()
    async with translated():
        for found in made.comparisons:
            task, producer = made.tasks[found.partition], made.hold.producers[found.partition]
            for changes in _batches(found.changes):
                transaction = corrected(changes, found.position, task, at_ms)
                checkpoint = await producer.commit(transaction)
                assert checkpoint is not None, "a change is a row"
                task.store.write(transaction.writes, checkpoint)
                rows, statements = published
                published = Published(rows + len(changes), statements + len(transaction.sends))
                told(len(changes))
    return published


def corrected(changes: Sequence[Change], position: StoredPosition, task: UsageTask, at_ms: int) -> Transaction:
    """The rows that are right, and what has to be stated about them. Writes nothing."""
    writes: Writes = {}
    sends: list[Send] = []
    rules = task.memory.rules
    for change in changes:
        row = _corrected_row(change)
        closed = row.revision is not None or change.key.start_ms + HOUR_MS + rules.grace_ms <= position.watermark_ms
        if row.revision is None and not row.lines:  # never stated, and nothing to state: the row was a mistake
            writes[codec.hour_key(change.key)] = None
            continue
        if closed and not _stated_already(row, task.store):
            sent, more = _stated(row, change, task.memory.rows, writes, task.place, at_ms)
            sends.append(sent)
            writes |= more
        writes[codec.hour_key(change.key)] = codec.pack_hour(row)
    return Transaction(writes, sends, None)


def _stated(row: UsageRow, change: Change, rows: Rows, before: Writes, place: Place, at_ms: int) -> tuple[Send, Writes]:
    """State the row's next revision, and add it to the month."""
    month = month_key(row.key)
    raw = codec.month_key(month)
    now = before.get(raw)
    stated, month_row = state(row, rows.month(month) if now is None else codec.unpack_month(now), at_ms)
    sent, writes = statement.send(stated, place.topic, place.partition, BILLS, place.outputs[BILLS])
    writes[raw] = codec.pack_month(month_row)
    if change.shadow is None:  # the coverage says what was taken back; what comes later begins anew
        row.first_offset = row.last_offset = -1
    return sent, writes


def _corrected_row(change: Change) -> UsageRow:
    """What was counted by the log, with what was stated by the table."""
    row = UsageRow(change.key)
    counted = change.shadow or change.table
    assert counted is not None
    row.first_offset, row.last_offset = counted.first_offset, counted.last_offset
    if change.table is not None:
        row.revision, row.stated = change.table.revision, change.table.stated
    if change.shadow is not None:
        for names, line in change.shadow.lines.items():
            own = row.lines[names] = Line(*line.numbers())
            own.row = row
    return row


def _stated_already(row: UsageRow, store: Store) -> bool:
    """Whether the newest statement says what the row says: then only the row was wrong."""
    if row.revision is None or row.stated != row.totals():
        return False
    bill = store.get(codec.bill_key(statement.bill_id(row.key, row.revision)))
    if bill is None:
        return False
    lines = {(line.provider, line.model): line.counters().numbers() for line in _read_bill(bill).data.lines}
    return lines == lines_of(row)


async def _compared(
    made: Recomputation, source: Source, settings: Settings, move: Move, refused: frozenset[int], told: Told
) -> Comparison | None:
    """One partition's table beside the log; None where nothing was counted."""
    number = move.partition
    store, ledger = made.hold.stores[number], made.tasks[number].memory
    position = stored_position(store)
    if position is None:
        return None
    shadow = Shadow(ledger.rules, ledger.admission, refused, ledger.seen.secret)
    done = _lead(move)
    most = settings.worker.chunk_records
    async with reading(settings) as consumer:
        async for records in chunks_of(consumer, source.topic, number, done, position.next_offset, most):
            shadow.count(records)
            told(records[-1].offset + 1 - done)
            done = records[-1].offset + 1
    return compare(number, store, position, shadow, move.to, ledger.rules)


def _lead(move: Move) -> int:
    return max(move.start, move.to - LEAD_RECORDS)


def _batches(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    return (changes[at : at + HOURS_MAX] for at in range(0, len(changes), HOURS_MAX))


class _LetterData(msgspec.Struct):
    source_topic: str
    group: str
    source_partition: int
    source_offset: int
    source_last_offset: int | None = None


class _Letter(msgspec.Struct):
    data: _LetterData


class _Line(msgspec.Struct):
    provider: str
    model: str
    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal

    def counters(self) -> Counters:
        return Counters(
            self.requests, self.errors, self.cache_hits, self.prompt_tokens, self.completion_tokens, self.cost
        )


class _BillData(msgspec.Struct):
    lines: list[_Line]


class _Bill(msgspec.Struct):
    data: _BillData


_read_letter = msgspec.json.Decoder(_Letter).decode
_read_bill = msgspec.json.Decoder(_Bill).decode
