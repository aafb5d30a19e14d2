"""Rows by key and hour: changed by one function, and stated when their hour closes if the table says so. All the
arithmetic that a group needs. Pure: records in; changed rows, statements and refusals out.

A row's life is a bill's (decision 9): open until its hour closes, then stated as revision 0; events that come later are
stated at the next five-minute mark, as the next revision; gone when the topic's retention has passed. A table that
states nothing has the same rows. How records are read is in `fold.py`, when rows are due in `unsettled.py`. What comes
out is a function of the log, however it is cut into chunks; only `idle` depends on the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from tables.admission import Admission
from tables.fast_path import NoFastPath
from tables.fold import Fold
from tables.outcome import Folded, Position, Record
from tables.seen import Seen, StoredIds
from tables.unsettled import Unsettled
from tables.window import HOUR_MS, Rules, hour_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a group brings along.

    key     start of an event's hour (ms), its org, the event → its row's key: a named tuple of strings and integers
            that begins with `start_ms`
    row     makes a row that counts nothing: a dataclass with a default for each field
    count   changes a row for one event
    states  whether closing a row states it
    """

    key: Callable[[int, str, Any], Any]
    row: Callable[[], Any]
    count: Callable[[Any, Any], None]
    states: bool = False


@dataclass(slots=True)
class KeyedRow:
    """A row, and what is kept of it beside. `row` is the group's own; `before` is what the newest revision stated."""

    key: Any
    row: Any
    events: int = 0
    first_offset: int = -1
    last_offset: int = -1
    revision: int | None = None  # of the newest statement; None: the hour has not closed
    stated_events: int = 0  # that the newest revision counts
    before: Any = None

    @property
    def settled(self) -> bool:
        """Whether the hour has closed, and no event has come since the newest revision."""
        return self.revision is not None and self.stated_events == self.events


class KeyedStatement(NamedTuple):
    """What a closed row holds, ready to be written down. `before`: what the revision before held; None at 0."""

    key: Any
    revision: int
    stated_ms: int  # the mark that caused it
    row: Any
    before: Any
    events: int
    first_offset: int
    last_offset: int


class Rows(Protocol):
    """The stored rows of one partition, as of the last chunk."""

    def get(self, key: Any) -> KeyedRow | None: ...

    def ending(self, after_ms: int, until_ms: int) -> Iterable[Any]:
        """The keys of hours that end in `(after_ms, until_ms]`."""


@dataclass
class KeyedOutcome(Folded):
    """What a chunk changed. `rows` holds final rows; None: the row has expired. `expired`: of these, with the newest
    revision."""

    rows: dict[Any, KeyedRow | None] = field(default_factory=dict)
    statements: list[KeyedStatement] = field(default_factory=list)


class Keyed(Fold[KeyedOutcome, KeyedRow]):
    """One partition's rows. Those that are not fully stated are in memory; any other is read from `rows`."""

    def __init__(
        self,
        recipe: Recipe,
        rules: Rules,
        admission: Admission,
        rows: Rows,
        position: Position,
        seen: Seen | None = None,
    ) -> None:
        self.recipe = recipe
        self.rows = rows
        self.unsettled: Unsettled[KeyedRow] = Unsettled(rules.grace_ms)
        super().__init__(rules, admission, position, seen, NoFastPath())
        self.next_mark_ms = self._next_mark()

    def restore(self, unsettled: Iterable[KeyedRow], ids: Iterable[tuple[int, StoredIds]]) -> None:
        """Rebuild the memory from stored rows: those not fully stated, and each chunk's remembered ids."""
        for row in unsettled:
            self._keep(row)
        self.remember(ids)

    def idle(self, now_ms: int) -> KeyedOutcome:
        """Close by the wall clock what a silent, fully read partition leaves behind (decision 9)."""
        outcome = self._outcome = KeyedOutcome()
        self._state(self.unsettled.take_idle(now_ms))
        self.next_mark_ms = self._next_mark()
        return outcome

    def idle_due(self, now_ms: int) -> bool:
        return self.unsettled.idle_due(now_ms)

    def _begun(self, chunk: int) -> KeyedOutcome:
        return KeyedOutcome(chunk=chunk)

    def _row_for(self, event: Any, org: str, record: Record) -> KeyedRow | None:
        """The row an event counts in. A late event finds its hour closed, and the row waits for the next mark."""
        hour = hour_of(event.at_ms)
        if self._is_closed(hour) and self._too_late(event.at_ms, record):
            return None
        key = self.recipe.key(hour, org, event)
        row = self.unsettled.find(key)
        if row is None:
            row = self._outcome.rows.get(key) or self.rows.get(key) or KeyedRow(key, self.recipe.row())
            self._keep(row)
        return row

    def _add(self, row: KeyedRow, event: Any, record: Record) -> None:
        self.recipe.count(row.row, event)
        row.events += 1
        if row.first_offset < 0:
            row.first_offset = record.offset
        row.last_offset = record.offset
        self._outcome.rounded += event.is_rounded
        self._outcome.rows[row.key] = row

    def _keep(self, row: KeyedRow) -> None:
        """Hold a row in memory until it is stated."""
        if row.revision is None and not self._is_closed(row.key.start_ms):
            self.unsettled.open(row.key, row)
        else:
            self.unsettled.wait(row.key, row, self.position.watermark_ms)
        self.next_mark_ms = min(self.next_mark_ms, self.unsettled.next_ms)

    def _is_closed(self, hour: int) -> bool:
        return self._closes_ms(hour) <= self.position.watermark_ms

    # -- marks ---------------------------------------------------------------------------------------------------

    def _cross(self, watermark_ms: int) -> None:
        """State, forget and expire what the watermark's new place brings due."""
        self._state(self.unsettled.take(watermark_ms))
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        self._expire(hour_of(max(watermark_ms - self.rules.retention_ms, 0)))

    def _state(self, due: list[tuple[Any, KeyedRow, int]]) -> None:
        for key, row, mark_ms in due:
            row.revision = 0 if row.revision is None else row.revision + 1
            row.stated_events = row.events
            self._outcome.rows[key] = row
            if self.recipe.states:
                before, row.before = row.before, deepcopy(row.row)
                counted = row.events, row.first_offset, row.last_offset
                self._outcome.statements.append(
                    KeyedStatement(key, row.revision, mark_ms, row.before, before, *counted)
                )

    def _expire(self, until_ms: int) -> None:
        """Let go of hours that ended at or before `until_ms`: no event can come for them any more."""
        position = self.position
        if 0 <= position.expired_ms < until_ms:
            now = [key for key in self._outcome.rows if key.start_ms + HOUR_MS <= until_ms]
            self._outcome.rows |= dict.fromkeys([*self.rows.ending(position.expired_ms, until_ms), *now])
        position.expired_ms = max(position.expired_ms, until_ms)

    def _due_next_ms(self) -> int:
        return min(self.unsettled.next_ms, self.position.expired_ms + HOUR_MS + self.rules.retention_ms)
