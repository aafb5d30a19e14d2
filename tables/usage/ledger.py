"""A partition's life: usage in; changed rows, statements and refusals out (decisions 8 to 13).

How records are read is in `fold.py`, when rows are due in `unsettled.py`. The ledger is arithmetic over a mapping of
rows. It reads rows that are fully stated from the mapping, and writes nothing: `Outcome` says what changed. Marks are
crossed at a record, in the middle of a chunk if need be, so any cutting of the log into chunks states the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tables.admission import Admission
from tables.counters import EXACT
from tables.outcome import Outcome, Position, Record, Rows
from tables.seen import Seen, StoredIds, expiry_of
from tables.unsettled import Due, HourFold
from tables.usage.expiry import expire
from tables.usage.hourly import OTHER, HourKey, Line, UsageRow, month_key, state
from tables.usage.lane import LineKey, NoUsageLane, UsageLane
from tables.window import HOUR_MS, Rules, hour_of


class Ledger(HourFold[Outcome, UsageRow]):
    """One partition of the hourly usage table.

    Promises beside those of a fold: every counted record is in exactly one stated delta once its hour is settled. With
    a fast path everything is the same.
    """

    lane: UsageLane

    def __init__(
        self,
        rules: Rules,
        admission: Admission,
        rows: Rows,
        position: Position,
        seen: Seen | None = None,
        lane: UsageLane | None = None,
    ) -> None:
        super().__init__(rules, admission, position, seen, NoUsageLane() if lane is None else lane)
        self.rows = rows
        self._lane_hours: set[int] = set()  # that the fast path knows
        self._new_from_ms = self._after(position.watermark_ms)  # no row of an hour from here on can be stored

    def restore(
        self, unsettled: Iterable[UsageRow], ids: Iterable[tuple[int, StoredIds]], counted_until_ms: int = -1
    ) -> None:
        """As every fold. `counted_until_ms`: other partitions counted hours up to this moment into these rows."""
        self._new_from_ms = max(self._new_from_ms, self._after(counted_until_ms))
        super().restore(unsettled, ids)

    def idle(self, now_ms: int) -> Outcome:
        outcome = super().idle(now_ms)
        self._new_from_ms = max(self._new_from_ms, self._after(self.position.watermark_ms))
        return outcome

    # -- records -------------------------------------------------------------------------------------------------

    def _begun(self, chunk: int) -> Outcome:
        return Outcome(chunk=chunk)

    def _add(self, row: UsageRow, event: Any, record: Record) -> None:
        data = event.data
        line = row.lines.get((data.provider, data.model))
        if line is None:
            line = self._line_of(row, data)
        line.requests += 1
        line.prompt_tokens += data.prompt_tokens
        line.completion_tokens += data.completion_tokens
        line.cost = EXACT.add(line.cost, data.cost_usd)
        if data.total_tokens != (named := data.prompt_tokens + data.completion_tokens):
            line.other_tokens += data.total_tokens - named
        if event.is_rounded:
            line.rounded += 1
            self._outcome.rounded += 1
        if data.cache_hit:
            line.cache_hits += 1
        if data.status != "success":
            line.errors += 1
        if row.first_offset < 0:
            row.first_offset = record.offset
        row.last_offset = record.offset
        self._outcome.hours[row.key] = row

    def _line_of(self, row: UsageRow, data: Any) -> Line:
        """The line of names that have none yet: a new one, or that of the others when the row has no room."""
        self._gather()  # lines that the lane has made came before
        names = row.counted_as((data.provider, data.model), self.rules.names_max)
        line = row.line(*names)
        if not line.requests and row.key not in self.unsettled.pending:
            self.lane.learn(LineKey(row.key, *names), line)
        self._outcome.others += names == OTHER
        return line

    def _gather(self) -> None:
        """Add to the rows what the fast path has counted."""
        touched = self._outcome.hours
        for line, numbers, first_offset, last_offset in self.lane.take(self._new_line):
            line.add(numbers)
            self._outcome.rounded += numbers[-1]
            row = line.row
            assert row is not None, "the lane counts in lines of open hours"
            if row.first_offset < 0:
                row.first_offset = first_offset
            row.last_offset = max(row.last_offset, last_offset) if row.key in touched else last_offset
            touched[row.key] = row
            if line is row.lines.get(OTHER):
                self._outcome.others += numbers[0]

    # -- rows ----------------------------------------------------------------------------------------------------

    def _key(self, hour: int, org: str, event: Any) -> HourKey:
        return HourKey(hour, org, event.team_id, event.data.currency)

    def _stored(self, key: HourKey) -> UsageRow:
        return self._outcome.hours.get(key) or self.rows.hour(key) or UsageRow(key)

    def _new_line(self, key: LineKey) -> Line:
        """A line that the fast path found: of an open hour, of which every row there is is in memory. The watermark may
        be past its end already: what was counted is gathered before the hour closes."""
        row = self.unsettled.find(key.hour)
        if row is None:
            row = UsageRow(key.hour)
            self._open(row)
        return row.line(key.provider, key.model)

    def _open(self, row: UsageRow) -> None:
        """The fast path learns of open hours and their lines."""
        super()._open(row)
        key, hour = row.key, row.key.start_ms
        if hour not in self._lane_hours:
            self._lane_hours.add(hour)
            expiry_ms = expiry_of(hour, self._closes_ms(hour), self.rules)
            self.lane.open(hour, expiry_ms, hour >= self._new_from_ms)
        for (provider, model), line in row.lines.items():
            self.lane.learn(LineKey(key, provider, model), line)

    def _state(self, due: list[Due[UsageRow]]) -> None:
        outcome = self._outcome
        for hour in self._lane_hours - self.unsettled.hours.keys():
            self.lane.close(hour)
            self._lane_hours.remove(hour)
        for key, row, mark_ms in due:
            month = month_key(key)
            before = outcome.months.get(month) or self.rows.month(month)
            statement, outcome.months[month] = state(row, before, mark_ms)
            outcome.statements.append(statement)
            outcome.hours[key] = row
            for line in row.lines.values():  # nobody asks for it any more, and without the cycle the row goes at once
                line.row = None

    def _expire(self, limit_ms: int) -> None:
        expire(self.position, self.rows, self._outcome, limit_ms)

    @staticmethod
    def _after(counted_ms: int) -> int:
        """The first hour that nothing counted up to a moment can be in."""
        return 0 if counted_ms < 0 else hour_of(counted_ms) + HOUR_MS
