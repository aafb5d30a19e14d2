"""How every windowed table reads its partition: one record after the other, each id once, the watermark first.

A table is a `Fold` with rows of its own. What is the same for all stands here: records below the position are passed
over, plain ones take the fast path, the others must be admitted, then past the remembered ids, then move the
watermark, which may bring something due, and only then count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from tables.admission import Admission, unresolved
from tables.cause import quoted
from tables.fast_path import FastPath
from tables.outcome import Folded, Position, Record, Refusal, Waiting
from tables.seen import Known, Seen, StoredIds, expiry_of
from tables.window import HOUR_MS, Rules, next_close

NEVER = 1 << 62

Out = TypeVar("Out", bound=Folded)
Row = TypeVar("Row")


class Fold(ABC, Generic[Out, Row]):
    """One partition of a table.

    Promises: the watermark never goes back; a record counts at most once while its id is remembered.
    """

    def __init__(self, rules: Rules, admission: Admission, position: Position, seen: Seen, lane: FastPath) -> None:
        self.rules = rules
        self.admission = admission
        self.position = position
        self.seen = seen
        self.lane = lane
        self.next_mark_ms = 0  # the lowest watermark at which anything is due
        self._outcome = self._begun(-1)

    def apply(self, records: Sequence[Record], now_ms: int = 0) -> Out:
        """Fold consecutive records. Records below the position were applied before and are passed over. Nothing depends
        on `now_ms`, the wall clock."""
        position = self.position
        outcome = self._outcome = self._begun(max(records[0].offset, position.next_offset))
        new = records
        if records[0].offset < position.next_offset:
            new = [record for record in records if record.offset >= position.next_offset]
            outcome.skipped = len(records) - len(new)
        self._count(new)
        outcome.ids = self.seen.keep(outcome.chunk)
        position.next_offset = max(position.next_offset, records[-1].offset + 1)
        outcome.accepted = len(new) - len(outcome.refusals) - outcome.duplicates - outcome.passed
        return outcome

    def remember(self, ids: Iterable[tuple[int, StoredIds]]) -> None:
        """Remember each stored chunk's ids again. The last step of a restore."""
        for chunk, stored in ids:
            self.seen.restore(chunk, stored, self.position.watermark_ms)
        self.next_mark_ms = self._next_mark()

    def waiting(self) -> Waiting:
        """What waits for a mark; nothing, in a table that states nothing."""
        return Waiting()

    def _waits(self, open_rows: int, pending: int = 0) -> Waiting:
        return Waiting(open_rows, pending, self.next_mark_ms if self.position.watermark_ms >= 0 else None)

    # -- what a table does its own way ---------------------------------------------------------------------------

    def idle(self, now_ms: int) -> Out:
        """Close by the wall clock what a silent, fully read partition leaves behind."""
        raise NotImplementedError("nothing is ever due by the wall clock")

    def idle_due(self, now_ms: int) -> bool:
        """Whether `idle` would do anything."""
        return False

    @abstractmethod
    def _begun(self, chunk: int) -> Out:
        """An empty outcome."""

    @abstractmethod
    def _row_for(self, event: Any, org: str, record: Record) -> Row | None:
        """The row an event counts in; None if it is too late for any, and refused."""

    @abstractmethod
    def _add(self, row: Row, event: Any, record: Record) -> None:
        """Count an event in its row."""

    @abstractmethod
    def _cross(self, watermark_ms: int) -> None:
        """State, forget and expire what the watermark's new place brings due."""

    @abstractmethod
    def _due_next_ms(self) -> int:
        """The lowest watermark at which anything of the rows is due; `NEVER`."""

    def _gather(self) -> None:
        """Add to the rows what the fast path has counted."""

    # -- records -------------------------------------------------------------------------------------------------

    def _count(self, records: Sequence[Record]) -> None:
        """Count records: plain ones on the fast path, the others one by one."""
        position, lane, at = self.position, self.lane, 0
        lane.load(records)
        while at < len(records):
            at, position.watermark_ms, duplicates = lane.run(at, position.watermark_ms, self.next_mark_ms)
            self._outcome.duplicates += duplicates
            if at < len(records):
                self._fold(records[at])
                at += 1
        self._gather()

    def _fold(self, record: Record) -> None:
        """Count a record."""
        admission, event = self.admission, self.admission.admit(record, self.rules.future_ms)
        if isinstance(event, Refusal):
            self._outcome.refusals.append(event)
            return
        if event is None:
            self._outcome.passed += 1
            return
        if self._repeated(record, event.id):
            return
        org = admission.org(event)
        if org is None:
            self._refuse(record, "org_unresolved", unresolved(event))
            return
        if event.at_ms > self.position.watermark_ms:  # first the watermark, then the count
            before_ms, self.position.watermark_ms = self.position.watermark_ms, event.at_ms
            if event.at_ms >= self.next_mark_ms:
                self.seen.hold(before_ms, event.at_ms, self.rules)
                self._cross(event.at_ms)
                self.next_mark_ms = self._next_mark()
        row = self._row_for(event, org, record)
        if row is None:
            return
        expiry_ms = expiry_of(event.at_ms, self.position.watermark_ms, self.rules)
        self.seen.add(event.id, record.value, expiry_ms)
        self.next_mark_ms = min(self.next_mark_ms, expiry_ms)
        self._add(row, event, record)

    def _repeated(self, record: Record, event_id: str) -> bool:
        """Whether a record's id is remembered: then it does not count."""
        known = self.seen.look(event_id, record.value)
        if known == Known.NEW:
            return False
        if known == Known.SAME:
            self._outcome.duplicates += 1
        else:
            self._refuse(
                record, "conflicting_duplicate", f"event {quoted(event_id)} was already counted with different content"
            )
        return True

    def _too_late(self, at_ms: int, record: Record) -> bool:
        """Whether an event of a closed hour is older than the topic's retention behind the watermark: refused."""
        if at_ms >= self.position.watermark_ms - self.rules.retention_ms:
            return False
        self._refuse(record, "too_late", "timestamp is further behind the newest event than the topic keeps records")
        return True

    def _refuse(self, record: Record, reason: str, error: str) -> None:
        self._outcome.refusals.append(Refusal(record, reason, error))

    # -- time ----------------------------------------------------------------------------------------------------

    def _closes_ms(self, hour: int) -> int:
        """The watermark that closes an hour."""
        return hour + HOUR_MS + self.rules.grace_ms

    def _next_mark(self) -> int:
        """The lowest watermark at which anything is due. Before the first record: at once."""
        watermark_ms = self.position.watermark_ms
        if watermark_ms < 0:
            return 0
        closes_ms = next_close(watermark_ms, self.rules.grace_ms)  # of any hour: its ids are remembered from then on
        return min(self._due_next_ms(), closes_ms, self.seen.next_expiry_ms or NEVER)
