"""A partition's life: usage in; changed rows, statements and refusals out (decisions 8 to 13).

How records are read is in `fold.py`, when rows are due in `unsettled.py`. The ledger is arithmetic over a mapping of
rows. It reads rows that are fully stated from the mapping, and writes nothing: `Outcome` says what changed. Marks are
crossed at a record, in the middle of a chunk if need be, so any cutting of the log into chunks states the same bytes.

A limit's way (`budget.py`): the lane stops at the record that could bring a month to its limit, `_add` counts it, and
`_judge` adds the month up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from tables.admission import Admission
from tables.counters import EXACT, NOTHING
from tables.outcome import Outcome, Position, Record, Rows
from tables.seen import Seen, StoredIds, expiry_of
from tables.unsettled import Due, HourFold
from tables.usage.budget import FAR, Budgets, Crossing, Limits, NoLimits
from tables.usage.expiry import expire
from tables.usage.hourly import OTHER, HourKey, Line, MonthKey, MonthRow, UsageRow, month_key, state
from tables.usage.lane import LineKey, NoUsageLane, UsageLane
from tables.window import HOUR_MS, Rules, hour_of, month_of


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
        limits: Limits | None = None,
    ) -> None:
        super().__init__(rules, admission, position, seen, NoUsageLane() if lane is None else lane)
        self.rows = rows
        self.budgets = Budgets(NoLimits() if limits is None else limits)
        self.lane.limit(self.budgets.any)
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

    def spent(self, month: MonthKey) -> Decimal:
        """What a month's bills state, and what its hours count beside."""
        cost = self.month(month).cost
        for hour, rows in self.unsettled.hours.items():
            if month_of(hour) == month.month and (row := rows.get(HourKey(hour, *month[1:]))) is not None:
                cost = EXACT.add(cost, row.unstated)
        for key, row in self.unsettled.pending.items():
            if month_key(key) == month:
                cost = EXACT.add(cost, row.unstated)
        return cost

    def month(self, month: MonthKey) -> MonthRow:
        """A month's row, with what the chunk in hand has changed."""
        return self._outcome.months.get(month) or self.rows.month(month)

    def hour(self, key: HourKey) -> UsageRow | None:
        """An hour's row, wherever it is. Not to be changed."""
        return self.unsettled.find(key) or self._outcome.hours.get(key) or self.rows.hour(key)

    # -- records -------------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record], now_ms: int = 0) -> Outcome:
        if self.budgets.renewed():
            self.lane.limit(self.budgets.any)
            for number in self.budgets.numbers():
                self.lane.left(number, NOTHING)
            for rows in self.unsettled.hours.values():
                for key in rows:
                    self._bind(key)
        return super().apply(records, now_ms)

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
        number = self.budgets.number(row.key) if self.budgets.any else None
        if number is not None and not self.lane.spend(number, data.cost_usd):
            self._judge(number, month_key(row.key), event.id, record.offset)

    def _judge(self, number: int, month: MonthKey, event_id: str, offset: int) -> None:
        """State the limits that a month has come to with this record, and say what is left until the next one."""
        self._gather()
        outcome, row, cost = self._outcome, self.month(month), self.spent(month)
        known = {crossed[:2] for crossed in row.crossed}
        ahead = FAR
        for limit in self.budgets.limits(month):
            if limit.amount > cost:
                ahead = min(ahead, limit.amount)
            elif (limit.kind, limit.amount) not in known:
                at_ms, after = self.position.watermark_ms, len(outcome.statements)
                crossing = Crossing(month, limit, cost, at_ms, event_id, offset, after)
                outcome.crossings.append(crossing)
                row = outcome.months[month] = row._replace(crossed=(*row.crossed, crossing.crossed))
        self.lane.left(number, EXACT.subtract(ahead, cost))

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
        self._bind(key)

    def _bind(self, key: HourKey) -> None:
        number = self.budgets.number(key) if self.budgets.any else None
        if number is not None:
            self.lane.bind(key, number)

    def _state(self, due: list[Due[UsageRow]]) -> None:
        outcome = self._outcome
        for hour in self._lane_hours - self.unsettled.hours.keys():
            self.lane.close(hour)
            self._lane_hours.remove(hour)
        for key, row, mark_ms in due:
            month = month_key(key)
            statement, outcome.months[month] = state(row, self.month(month), mark_ms)
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
