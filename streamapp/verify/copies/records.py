"""Compares a destination that keeps each record with the log that its group reads: record by record.

Both sides are cut at one offset of each partition, below which every row was there before anything was read. So the
comparison is exact while events flow. Records from that offset on are waiting. A row that is missing at the place of
its record is asked for once more, last of all: it may be there under its id from another place, or a newer copy has
replaced it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from streamapp.kafka.log.reader import Record, Span
from streamapp.verify.engine import Offsets, Sides
from streamapp.verify.read.event import at
from streamapp.verify.report import LEFT, RIGHT, PairReport, Side

MISSING_MAX = 1_000  # rows that are asked for at once


class Item(NamedTuple):
    """What must be kept of a record, or what a destination keeps of it."""

    partition: int
    offset: int
    where: str
    row: Any
    at_ms: int | None  # which hour it is counted in; None: in none
    id: str | None = None  # two items of one offset are the same one if this is
    amounts: Mapping[str, Any] = {}  # what is summed by hour
    value: bytes | None = None  # the record's bytes, if they are kept


class Destination(Protocol):
    """What a check asks of a destination. Every call is a moment of its own."""

    def done(self, committed: Offsets) -> Offsets:
        """partition → the offset below which every row must be there."""

    def rows(self, partition: int, span: Span) -> Iterator[Item]:
        """The rows of these offsets in their order, and older ones if it costs nothing to read them."""

    def elsewhere(self, missing: Sequence[Item]) -> Sequence[str | None]:
        """Of each row that is missing in its place: None if it is lost, "" if another one stands for it, or what is
        wrong with the one that does."""


class Copy(NamedTuple):
    """How the rows of a destination are compared."""

    must: Callable[[Record], Item | str | None]
    """What must be kept of a record; or why nothing may be; None: that cannot be said."""
    differences: Callable[[Record, Item, Item], Iterable[str]]
    """(record, what must be kept, what is kept) → each finding, in a sentence."""
    strays: str = "wrong"  # or "doubled": what a row without a record is
    waits: Callable[[Record], bool] | None = None
    """Whether a record that the group has not committed is waiting. None: all are, and they are not read."""
    note: Callable[[Side, Item], None] | None = None  # instead of the sums by hour


def compare(sides: Sides, copy: Copy, *, apart: bool = False, headers: bool = False) -> None:
    """Fill the report. `apart`: partition after partition, for a destination whose windows are large. `headers`: the
    records are read with theirs."""
    kept, spans = sides.kept, sides.spans[sides.pair.source]
    done = kept.done(sides.committed)
    for part in [{number: span} for number, span in sorted(spans.items())] if apart else [spans]:
        cut = part
        if copy.waits is None:
            cut = {number: Span(span.start, _upto(span, done.get(number, 0))) for number, span in part.items()}
            sides.report.waiting += sum(span.end - cut[number].end for number, span in part.items())
        some = any(span.end > span.start for span in cut.values())
        records = sides.records(sides.pair.source, cut, headers=headers) if some else ()
        walk(records, cut, done, kept, copy, sides.report)


def walk(
    records: Iterable[Record],
    spans: Mapping[int, Span],
    done: Offsets,
    kept: Destination,
    copy: Copy,
    report: PairReport,
) -> None:
    """Compare the records of these spans, in offset order within a partition, with what is kept of them."""
    made = _Walk(spans, done, kept, copy, report)
    for record in records:
        if record.offset < done.get(record.partition, 0):
            made.judge(record)
        elif copy.waits is not None and copy.waits(record):
            report.waiting += 1
            report.events += 1
    made.finish()


class _Rows:
    """The rows of one partition, as the log goes by."""

    def __init__(self, rows: Iterator[Item], start: int, report: PairReport) -> None:
        self._rows = rows
        self._next = next(rows, None)
        while self._next is not None and self._next.offset < start:
            report.out_of_reach += 1
            self._next = next(rows, None)

    def before(self, offset: int) -> list[Item]:
        """The next ones, with lower offsets than this."""
        found = []
        while self._next is not None and self._next.offset < offset:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def pass_by(self) -> None:
        """Read the rest, of records that are not committed."""
        for _ in self._rows:
            pass


class _Walk:
    def __init__(
        self, spans: Mapping[int, Span], done: Offsets, kept: Destination, copy: Copy, report: PairReport
    ) -> None:
        self._kept, self._copy, self._report = kept, copy, report
        self._note = copy.note or self._by_hour
        self._ends = {number: _upto(span, done.get(number, 0)) for number, span in spans.items()}
        self._rows = {
            number: _Rows(kept.rows(number, Span(span.start, self._ends[number])), span.start, report)
            for number, span in spans.items()
        }
        self._missing: dict[object, Item] = {}

    def judge(self, record: Record) -> None:
        """One record that the group has committed."""
        rows = self._rows[record.partition]
        self._stray(rows.before(record.offset))
        here = rows.before(record.offset + 1)
        must = self._copy.must(record)
        if must is None:
            return
        if isinstance(must, str):
            self._stray((row for row in here if row.value is None or row.value != record.value), must)
            return
        mine = next((row for row in here if row.id == must.id), None)
        again = [row for row in here if row is not mine]
        for row in again:
            if row.id == must.id:
                self._report.doubled.add(row.where, "is kept more than once")
        self._stray(row for row in again if row.id != must.id)
        if mine is None:
            self._missing[must.id or (record.partition, record.offset)] = must
            if len(self._missing) >= MISSING_MAX:
                self._ask()
            return
        self._report.events += 1
        self._note(LEFT, must)
        self._note(RIGHT, mine)
        for what in self._copy.differences(record, must, mine):
            self._report.wrong.add(mine.where, what)

    def finish(self) -> None:
        """The log is at its end."""
        for number, rows in self._rows.items():
            self._stray(rows.before(self._ends[number]))
            rows.pass_by()
        self._ask()

    def _stray(self, rows: Iterable[Item], why: str = "there is no such record in the log") -> None:
        for row in rows:
            what = f"{self._report.right} has {row.id or 'a row'} from here: {why}"
            dict(self._report.faults())[self._copy.strays].add(row.where, what)

    def _ask(self) -> None:
        missing = [*self._missing.values()]
        for must, found in zip(missing, self._kept.elsewhere(missing) if missing else (), strict=True):
            if found is None:
                self._report.events += 1
                self._note(LEFT, must)
                what = f"{must.id} is" if must.id else "is"
                self._report.lost.add(must.where, f"{what} not in {self._report.right}")
            elif found:
                self._report.wrong.add(must.where, found)
        self._missing.clear()

    def _by_hour(self, side: Side, item: Item) -> None:
        if item.at_ms is not None:
            self._report.sums(item.at_ms, side).add(1, item.amounts)


def _upto(span: Span, done: int) -> int:
    return max(span.start, min(span.end, done))


def place(record: Record, row: Any, at_ms: int | None, id: str | None = None, **more: Any) -> Item:
    """What must be kept of a record."""
    return Item(record.partition, record.offset, at(record), row, at_ms, id, value=record.value, **more)
