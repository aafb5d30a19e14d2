"""What correcting a table means: declared by each table, done by `replay/recompute.py` (decision 14, docs/adr/0038).

A *shadow* is the table's own task, with rows of its own, that counts the records of a range anew. A table says how a
shadow counts, how its rows compare with the shadow, and what is written where they differ. Records with a dead letter
stay refused: the dead letter is their way back, and counting them here would count them twice when they are redriven.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Parts, TableTask
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from tables.outcome import Folded
from tables.window import Rules

if TYPE_CHECKING:
    from streamapp.exact.declaration import Making

LEAD_RECORDS = 10_000
ALL_RECORDS = 1 << 62
"""Of the lead: everything that the log has."""

Money = tuple[str, Decimal]
"""Currency and amount."""


class Range(NamedTuple):
    """The records that are counted anew: from offset `start` to the table's position. `before_ms`: no event of an
    earlier record has a later time (ms); -1: there are no earlier records."""

    start: int
    before_ms: int

    @property
    def whole(self) -> bool:
        """Whether it holds every record that there ever was."""
        return self.before_ms < 0


@dataclass(frozen=True)
class Kept:
    """One partition's table as it is kept. Nobody else has it."""

    place: Place
    store: Store
    position: StoredPosition
    rules: Rules

    def reach_ms(self, range_: Range) -> int:
        """Events of the range with a later time are all there are of their time: no earlier record, and no other
        partition whose rows have moved here, counted any."""
        return max(range_.before_ms, self.position.moved_ms)


@dataclass(frozen=True)
class Change:
    """A row that is not what the log says. `value` is what it should be; None: there should be no row. `money` is what
    changes by it, if money does."""

    key: bytes
    value: bytes | None
    money: Money | None = None


@dataclass
class Comparison:
    """One partition's table beside its shadow. Changes are in the order of their keys."""

    kept: Kept
    compared: int = 0
    out_of_reach: int = 0  # with records before the range, or of other partitions, or that were too late
    contradicted: int = 0  # with records that were counted, and would be refused now, or can no longer be read
    changes: list[Any] = field(default_factory=list)


class Shadow:
    """Counts records anew. `refused` are the offsets that have a dead letter."""

    def __init__(self, task: TableTask[Any, Any], refused: frozenset[int]) -> None:
        self.task = task
        self.contradicted: list[Any] = []  # records that are refused now, and were not then
        self.unreadable: list[tuple[int, int]] = []  # batches without a dead letter: whatever they hold may be counted
        self._refused = refused
        self._offsets: dict[str, list[int]] = defaultdict(list)  # record key → offsets that are refused now
        task.landed = self._landed

    async def count(self, records: Sequence[Any]) -> None:
        """The next records of the log."""
        fit = [record for record in records if record.offset not in self._refused] if self._refused else records
        if fit:
            await self.task.commit(self.task.fold(fit, fit[-1].timestamp))

    def disputes(self, owner: str, first_offset: int, last_offset: int) -> bool:
        """Whether a record between two offsets, which may be the owner's, was counted and would be refused now."""
        if any(first <= last_offset and first_offset <= last for first, last in self.unreadable):
            return True
        offsets = self._offsets.get(owner, ())
        at = bisect_left(offsets, first_offset)
        return at < len(offsets) and offsets[at] <= last_offset

    def _landed(self, outcome: Folded) -> None:
        for refusal in outcome.refusals:
            record = refusal.record
            if isinstance(record.value, UnreadableBatch):
                self.unreadable.append((record.value.first, record.value.last))
                continue
            self.contradicted.append(record)
            self._offsets[(record.key or b"").decode(errors="replace")].append(record.offset)


def rows_replaced(changes: Sequence[Change], kept: Kept, at_ms: int) -> Transaction:
    """Every row becomes what it should be; nothing is stated."""
    return Transaction({change.key: change.value for change in changes}, (), None)


@dataclass(frozen=True)
class Correction:
    """How a table is put right.

    unit       what is compared, in the plural, as people say it
    compare    the table beside its shadow of a range
    correct    some of the changes → the rows that are right, and what has to be stated at `at_ms`. Writes nothing.
               After it, the rows compare as right: so a run that was ended half-way is finished by the next one
    counts     how the shadow counts: its parts, for the table that is kept. None: as the table itself does
    lead       so many records before the range are read, too, so that ids and the watermark are known where it begins
    """

    unit: str
    compare: Callable[[Kept, Shadow, Range], Comparison]
    correct: Callable[[Sequence[Any], Kept, int], Transaction] = rows_replaced
    counts: Callable[[Making, Kept], Parts[Any, Any]] | None = None
    lead: int = LEAD_RECORDS


class Hours(NamedTuple):
    """Rows by key and hour, as a table keeps them. A *family* is what stays together when a directory gives an owner to
    another org: it is compared as a whole or not at all.

    rows     every row of a store, in the order of time
    get      the row of a key
    family   key → its family
    home     key → the record key
    change   key, the table's row and the shadow's → the change; None: they agree
    """

    rows: Callable[[Store], Iterable[Any]]
    get: Callable[[Store, Any], Any]
    family: Callable[[Any], Any]
    home: Callable[[Any], str]
    change: Callable[[Kept, Any, Any, Any], Any]


def compare_hours(hours: Hours, kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
    """Hour by hour, those of which every record lies in the range."""
    found, family = Comparison(kept), hours.family
    counted = {row.key: row for row in hours.rows(shadow.task.store)}
    lost = {family(row.key) for row in counted.values() if row.first_offset < range_.start}
    disputed: set[Any] = set()
    table: set[Any] = set()
    for row in hours.rows(kept.store):
        table.add(row.key)
        if 0 <= row.first_offset < range_.start:
            lost.add(family(row.key))
        if shadow.disputes(hours.home(row.key), row.first_offset, row.last_offset):
            disputed.add(family(row.key))
    oldest_ms = max(kept.position.watermark_ms - kept.rules.retention_ms, kept.position.moved_ms + 1)
    for key in sorted({*table, *counted}):
        if key.start_ms < oldest_ms or family(key) in lost:
            found.out_of_reach += 1
        elif family(key) in disputed:
            found.contradicted += 1
        else:
            found.compared += 1
            change = hours.change(kept, key, hours.get(kept.store, key), counted.get(key))
            if change is not None:
                found.changes.append(change)
    return found


class Reach(Enum):
    """Whether a row can be compared."""

    IN = "all of its records lie in the range"
    OUT = "some of its records may lie before the range"
    DISPUTED = "some of its records would be refused now"


def compare_rows(
    kept: Kept,
    shadow: Store,
    kinds: Iterable[bytes],
    reach: Callable[[bytes], Reach],
    right: Callable[[bytes, bytes | None, bytes | None], bytes | None],
) -> Comparison:
    """Row by row, all rows of these kinds. `right`: a key and both sides' values → the value that is right, which is
    the table's own if nothing is to be changed."""
    found = Comparison(kept)
    for kind in kinds:
        stop = bytes([kind[0] + 1])
        sides = dict(kept.store.scan(kind, stop)), dict(shadow.scan(kind, stop))
        for key in sorted({*sides[0], *sides[1]}):
            if (within := reach(key)) is Reach.IN:
                found.compared += 1
                before = sides[0].get(key)
                value = right(key, before, sides[1].get(key))
                if value != before:
                    found.changes.append(Change(key, value))
            elif within is Reach.OUT:
                found.out_of_reach += 1
            else:
                found.contradicted += 1
    return found
