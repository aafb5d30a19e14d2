"""A partition's life: usage in; changed rows, statements and refusals out (decisions 8 to 13).

How records are read is in `fold.py`. The ledger is arithmetic over a mapping of rows. Open hours are kept by its lane,
hours with unstated late usage and remembered ids in memory; any other row it reads from the mapping. It writes nothing:
`Outcome` says what changed. Marks are crossed at a record, in the middle of a chunk if need be, so any cutting of the
log into chunks states the same bytes.

A late event's way: `_row_for` finds its hour closed and puts the row among the `pending`; `_cross` states it when the
watermark reaches the next five-minute mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tables.admission import Admission
from tables.fold import NEVER, Fold
from tables.outcome import Outcome, Position, Record, Rows
from tables.seen import Seen, StoredIds, expiry_of
from tables.usage.expiry import expire
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow, month_key, state
from tables.usage.open_hours import OpenHours
from tables.window import HOUR_MS, Rules, hour_of, mark_after

MONTHS_MAX = 20_000  # that need not be read again at the next mark; ten megabytes


class Ledger(Fold[Outcome, HourKey | UsageRow]):
    """One partition of the hourly usage table.

    Promises beside those of a fold: every counted record is in exactly one stated delta once its hour is settled.
    Whoever keeps the open hours, the same is written.
    """

    lane: OpenHours

    def __init__(
        self,
        rules: Rules,
        admission: Admission,
        rows: Rows,
        position: Position,
        seen: Seen,
        hours: OpenHours,
    ) -> None:
        super().__init__(rules, admission, position, seen, hours)
        self.rows = rows
        self.open: set[int] = set()  # hours with open rows
        self._months: dict[MonthKey, MonthRow] = {}  # some that were stated last
        self.pending: dict[HourKey, UsageRow] = {}  # closed, with usage that is not stated yet
        self._due_ms = NEVER  # the mark at which the pending are stated
        self._new_from_ms = self._after(position.watermark_ms)  # no row of an hour from here on can be stored
        self.next_mark_ms = self._next_mark()

    def restore(
        self, unsettled: Iterable[UsageRow], ids: Iterable[tuple[int, StoredIds]], counted_until_ms: int = -1
    ) -> None:
        """Rebuild the memory from stored rows: those not fully stated, and each chunk's remembered ids.

        `counted_until_ms`: other partitions counted hours up to this moment into these rows.
        """
        self._new_from_ms = max(self._new_from_ms, self._after(counted_until_ms))
        for row in unsettled:
            if row.revision is None and not self._closed(row.key.start_ms):
                self._open(row.key.start_ms)
                self.lane.admit(row)
            else:
                self._await_mark(row)
        self.remember(ids)

    def idle(self, now_ms: int) -> Outcome:
        """Close by the wall clock what a silent, fully read partition leaves behind (decision 9): hours whose end and
        grace have passed, and every pending revision."""
        outcome = self._outcome = Outcome()
        self._state([(row, now_ms) for row, _ in [*self._end(now_ms), *self._pending(NEVER)]])
        self._new_from_ms = max(self._new_from_ms, self._after(self.position.watermark_ms))
        self.next_mark_ms = self._next_mark()
        return outcome

    def idle_due(self, now_ms: int) -> bool:
        """Whether `idle` would state anything."""
        return bool(self.pending) or any(self._closes_ms(hour) <= now_ms for hour in self.open)

    # -- records -------------------------------------------------------------------------------------------------

    def _begun(self, chunk: int) -> Outcome:
        return Outcome(chunk=chunk)

    def _add(self, row: HourKey | UsageRow, event: Any, record: Record) -> None:
        data = event.data
        names = (data.provider, data.model)
        other_tokens = data.total_tokens - data.prompt_tokens - data.completion_tokens
        numbers = (
            1,
            int(data.status != "success"),
            int(data.cache_hit),
            data.prompt_tokens,
            data.completion_tokens,
            data.cost_usd,
            other_tokens,
            int(event.is_rounded),
        )
        if isinstance(row, HourKey):
            self.lane.add(row, names, numbers, record.offset)
            return
        self._outcome.others += row.count(names, numbers, record.offset, self.rules.names_max)
        self._outcome.rounded += event.is_rounded
        self._outcome.hours[row.key] = row

    def _gather(self) -> None:
        outcome, lane = self._outcome, self.lane
        outcome.open = lane.changed()
        outcome.others += lane.others()
        outcome.rounded += lane.rounded()

    # -- rows ----------------------------------------------------------------------------------------------------

    def _row_for(self, event: Any, org: str, record: Record) -> HourKey | UsageRow | None:
        """The row an event counts in: an open one, by its key, or one that is stated and from now on pending. None if
        it is too late for any."""
        key = HourKey(hour_of(event.at_ms), org, event.team_id, event.data.currency)
        closed = self._closed(key.start_ms)
        if closed and self._too_late(event.at_ms, record):
            return None
        if key in self.pending:
            return self.pending[key]
        if not closed and self.lane.knows(key):
            return key
        row = self._outcome.hours.get(key) or self.rows.hour(key)
        if closed or row is not None:  # of an open hour that the wall clock has closed before
            row = row or UsageRow(key)
            self._await_mark(row)
            return row
        self._open(key.start_ms)
        return key

    def _open(self, hour_ms: int) -> None:
        """An hour has rows from now on."""
        if hour_ms not in self.open:
            self.open.add(hour_ms)
            closes_ms = self._closes_ms(hour_ms)
            self.lane.open(hour_ms, expiry_of(hour_ms, closes_ms, self.rules), hour_ms >= self._new_from_ms)
            self.next_mark_ms = min(self.next_mark_ms, closes_ms)

    def _await_mark(self, row: UsageRow) -> None:
        """Late usage waits for the next five-minute mark."""
        if not self.pending:
            self._due_ms = mark_after(self.position.watermark_ms)
            self.next_mark_ms = min(self.next_mark_ms, self._due_ms)
        self.pending[row.key] = row

    # -- marks ---------------------------------------------------------------------------------------------------

    def _cross(self, watermark_ms: int) -> None:
        """State, forget and expire what the watermark's new place brings due."""
        self._state([*self._end(watermark_ms), *self._pending(watermark_ms)])
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        expire(self.position, self.rows, self._outcome, watermark_ms - self.rules.retention_ms)
        for month in self._outcome.old_months:
            self._months.pop(month, None)

    def _end(self, until_ms: int) -> Iterator[tuple[UsageRow, int]]:
        """The rows of the hours that a watermark closes, each with the mark that does it. They are open no longer."""
        for hour in sorted(hour for hour in self.open if self._closes_ms(hour) <= until_ms):
            self.open.remove(hour)
            for row in self.lane.close(hour):
                yield row, self._closes_ms(hour)

    def _pending(self, until_ms: int) -> Iterator[tuple[UsageRow, int]]:
        """The rows with late usage, if their mark has come. They are pending no longer."""
        if self._due_ms <= until_ms:
            pending, self.pending, due_ms, self._due_ms = self.pending, {}, self._due_ms, NEVER
            for row in pending.values():
                yield row, due_ms

    def _state(self, due: list[tuple[UsageRow, int]]) -> None:
        """State rows, each with the mark that caused it, in the order of their keys."""
        outcome = self._outcome
        for row, mark_ms in sorted(due, key=lambda item: item[0].key):
            month = month_key(row.key)
            before = outcome.months.get(month) or self._months.get(month) or self.rows.month(month)
            statement, outcome.months[month] = state(row, before, mark_ms)
            outcome.statements.append(statement)
            outcome.hours[row.key] = row
        if len(self._months) > MONTHS_MAX:
            self._months.clear()
        self._months.update(outcome.months)

    def _closed(self, hour: int) -> bool:
        return self._closes_ms(hour) <= self.position.watermark_ms

    def _due_next_ms(self) -> int:
        return min(
            self._closes_ms(min(self.open)) if self.open else NEVER,
            self._due_ms,
            self.position.expired_ms + HOUR_MS + self.rules.retention_ms,
        )

    @staticmethod
    def _after(counted_ms: int) -> int:
        """The first hour that nothing counted up to a moment can be in."""
        return 0 if counted_ms < 0 else hour_of(counted_ms) + HOUR_MS
