"""Rows by key and hour, and when each is due (decision 9): what bills and every table of the guide have in common.

A row is *open* until its hour closes. An event that comes later makes the row *pending*: it waits for the next
five-minute mark. `Unsettled` knows both kinds, `HourFold` is the fold that keeps its rows in it. Open rows may be kept
by a fast path (`OpenRows`); pending ones are always here. A key's `start_ms` is its hour. What is counted, and how a
row is stated, is the table's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

from tables.admission import Admission
from tables.fast_path import FastPath
from tables.fold import NEVER, Fold
from tables.outcome import Folded, Position, Record, Waiting
from tables.seen import Seen, StoredIds
from tables.window import HOUR_MS, Rules, hour_of, mark_after


class HourRow(Protocol):
    """What is known of a row here. `revision` is that of the newest statement; None: nothing was stated."""

    key: Any
    revision: int | None


Out = TypeVar("Out", bound=Folded)
Row = TypeVar("Row", bound=HourRow)

Due = tuple[Any, Row, int]
"""Key, row, and the mark (ms) that makes it due."""


class OpenRows(Protocol[Row]):
    """Where the rows of open hours are."""

    @property
    def hours(self) -> Collection[int]:
        """The open hours."""

    def find(self, key: Any) -> Row | None:
        """The row of a key, or one that stands for it; None: there is none."""

    def admit(self, row: Row) -> None:
        """Keep a row until its hour closes."""

    def close(self, hour_ms: int) -> Iterable[Row]:
        """The hour is open no longer: all its rows, in no order."""

    def __len__(self) -> int:
        """How many rows there are."""


class RowsInMemory(Generic[Row]):
    """Hour → key → row."""

    def __init__(self) -> None:
        self.hours: dict[int, dict[Any, Row]] = {}

    def find(self, key: Any) -> Row | None:
        return self.hours.get(key.start_ms, {}).get(key)

    def admit(self, row: Row) -> None:
        self.hours.setdefault(row.key.start_ms, {})[row.key] = row

    def close(self, hour_ms: int) -> Iterable[Row]:
        return self.hours.pop(hour_ms).values()

    def __len__(self) -> int:
        return sum(map(len, self.hours.values()))


class Unsettled(Generic[Row]):
    """Key → row. A row is open until its hour closes; a pending one waits for the next five-minute mark."""

    def __init__(self, grace_ms: int, rows: OpenRows[Row]) -> None:
        self._grace_ms = grace_ms
        self.rows = rows  # of open hours
        self.pending: dict[Any, Row] = {}
        self.due_ms = NEVER  # the mark at which the pending are stated

    def find(self, key: Any) -> Row | None:
        """The row of a key, if it is not fully stated."""
        return self.pending.get(key) or self.rows.find(key)

    def wait(self, key: Any, row: Row, watermark_ms: int) -> None:
        """Keep a row until the first five-minute mark above the watermark, or the one that others wait for."""
        if not self.pending:
            self.due_ms = mark_after(watermark_ms)
        self.pending[key] = row

    def take(self, watermark_ms: int) -> list[Due[Row]]:
        """Let go of what a watermark brings due: key, row and the mark, in the order of keys."""
        due = [
            (row.key, row, closes_ms) for hour, closes_ms in self._closed(watermark_ms) for row in self.rows.close(hour)
        ]
        if self.due_ms <= watermark_ms:
            due += self._waited(self.due_ms)
        return sorted(due, key=itemgetter(0))

    def take_idle(self, now_ms: int) -> list[Due[Row]]:
        """Let go of what the wall clock brings due in a silent partition: hours that are over, and all that wait."""
        due = [(row.key, row, now_ms) for hour, _ in self._closed(now_ms) for row in self.rows.close(hour)]
        return sorted(due + self._waited(now_ms), key=itemgetter(0))

    def idle_due(self, now_ms: int) -> bool:
        """Whether `take_idle` would find anything."""
        return bool(self.pending or self._closed(now_ms))

    @property
    def next_ms(self) -> int:
        """The lowest watermark at which anything is due; `NEVER`."""
        hours = self.rows.hours
        return min(self._closes_ms(min(hours)) if hours else NEVER, self.due_ms)

    def _closes_ms(self, hour: int) -> int:
        return hour + HOUR_MS + self._grace_ms

    def _closed(self, at_ms: int) -> list[tuple[int, int]]:
        """The hours that a watermark closes, and the marks that do it."""
        closes = [(hour, self._closes_ms(hour)) for hour in self.rows.hours]
        return [(hour, closes_ms) for hour, closes_ms in closes if closes_ms <= at_ms]

    def _waited(self, mark_ms: int) -> list[Due[Row]]:
        pending, self.pending, self.due_ms = self.pending, {}, NEVER
        return [(key, row, mark_ms) for key, row in pending.items()]


class HourFold(Fold[Out, Row]):
    """One partition of a table whose rows have a key and an hour. Rows that are not fully stated are in memory; while
    they are open, in `open_rows`."""

    def __init__(
        self,
        rules: Rules,
        admission: Admission,
        position: Position,
        seen: Seen,
        lane: FastPath,
        open_rows: OpenRows[Row] | None = None,
    ) -> None:
        super().__init__(rules, admission, position, seen, lane)
        self.unsettled: Unsettled[Row] = Unsettled(rules.grace_ms, RowsInMemory() if open_rows is None else open_rows)
        self.next_mark_ms = self._next_mark()

    def restore(self, unsettled: Iterable[Row], ids: Iterable[tuple[int, StoredIds]]) -> None:
        """Rebuild the memory from stored rows: those not fully stated, and each chunk's remembered ids."""
        for row in unsettled:
            self._keep(row)
        self.remember(ids)

    def idle(self, now_ms: int) -> Out:
        """Close by the wall clock what a silent, fully read partition leaves behind (decision 9): hours whose end and
        grace have passed, and every pending revision."""
        outcome = self._outcome = self._begun(-1)
        self._state(self.unsettled.take_idle(now_ms))
        self.next_mark_ms = self._next_mark()
        return outcome

    def idle_due(self, now_ms: int) -> bool:
        return self.unsettled.idle_due(now_ms)

    def waiting(self) -> Waiting:
        return self._waits(len(self.unsettled.rows), len(self.unsettled.pending))

    # -- what a table does its own way ---------------------------------------------------------------------------

    @abstractmethod
    def _key(self, hour: int, org: str, event: Any) -> Any:
        """The key of the row that an event counts in."""

    @abstractmethod
    def _stored(self, key: Any) -> Row:
        """The row of a key that is neither open nor pending: changed in this chunk, stored, or new."""

    @abstractmethod
    def _state(self, due: list[Due[Row]]) -> None:
        """State rows, which are in the order of their keys; they are let go of already."""

    @abstractmethod
    def _expire(self, limit_ms: int) -> None:
        """Let go of hours that ended at or before a moment: no event can come for them any more."""

    # -- rows and marks ------------------------------------------------------------------------------------------

    def _row_for(self, event: Any, org: str, record: Record) -> Row | None:
        """The row an event counts in: open, or closed and from now on pending. None if it is too late for any."""
        hour = hour_of(event.at_ms)
        if self._is_closed(hour) and self._too_late(event.at_ms, record):
            return None
        key = self._key(hour, org, event)
        row = self.unsettled.find(key)
        if row is None:
            row = self._stored(key)
            self._keep(row)
        return row

    def _keep(self, row: Row) -> None:
        """Hold a row in memory until it is stated."""
        if row.revision is None and not self._is_closed(row.key.start_ms):
            self._open(row)
        else:
            self.unsettled.wait(row.key, row, self.position.watermark_ms)
            self.next_mark_ms = min(self.next_mark_ms, self.unsettled.due_ms)

    def _open(self, row: Row) -> None:
        """Hold a row until its hour closes."""
        self.unsettled.rows.admit(row)
        self.next_mark_ms = min(self.next_mark_ms, self._closes_ms(row.key.start_ms))

    def _is_closed(self, hour: int) -> bool:
        return self._closes_ms(hour) <= self.position.watermark_ms

    def _cross(self, watermark_ms: int) -> None:
        """State, forget and expire what the watermark's new place brings due."""
        self._state(self.unsettled.take(watermark_ms))
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        self._expire(watermark_ms - self.rules.retention_ms)

    def _due_next_ms(self) -> int:
        return min(self.unsettled.next_ms, self.position.expired_ms + HOUR_MS + self.rules.retention_ms)
