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
from tables.outcome import Folded, Position, Record
from tables.seen import Seen
from tables.unsettled import Due, HourFold
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


class Keyed(HourFold[KeyedOutcome, KeyedRow]):
    """One partition's rows. Those that are not fully stated are in memory; any other is read from `rows`."""

    def __init__(
        self, recipe: Recipe, rules: Rules, admission: Admission, rows: Rows, position: Position, seen: Seen
    ) -> None:
        self.recipe = recipe
        self.rows = rows
        super().__init__(rules, admission, position, seen, NoFastPath())

    def _begun(self, chunk: int) -> KeyedOutcome:
        return KeyedOutcome(chunk=chunk)

    def _key(self, hour: int, org: str, event: Any) -> Any:
        return self.recipe.key(hour, org, event)

    def _stored(self, key: Any) -> KeyedRow:
        return self._outcome.rows.get(key) or self.rows.get(key) or KeyedRow(key, self.recipe.row())

    def _add(self, row: KeyedRow, event: Any, record: Record) -> None:
        self.recipe.count(row.row, event)
        row.events += 1
        if row.first_offset < 0:
            row.first_offset = record.offset
        row.last_offset = record.offset
        self._outcome.rounded += event.is_rounded
        self._outcome.rows[row.key] = row

    def _state(self, due: list[Due[KeyedRow]]) -> None:
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

    def _expire(self, limit_ms: int) -> None:
        position, until_ms = self.position, hour_of(max(limit_ms, 0))
        if 0 <= position.expired_ms < until_ms:
            now = [key for key in self._outcome.rows if key.start_ms + HOUR_MS <= until_ms]
            self._outcome.rows |= dict.fromkeys([*self.rows.ending(position.expired_ms, until_ms), *now])
        position.expired_ms = max(position.expired_ms, until_ms)
