"""A partition's life: usage in; changed rows, statements and refusals out (decisions 8 to 13).

How records are read is in `fold.py`, when rows are due in `unsettled.py`. The ledger is arithmetic over a mapping of
rows. Its lane keeps the open hours; rows that are fully stated it reads from the mapping. It writes nothing: `Outcome`
says what changed. Marks are crossed at a record, in the middle of a chunk if need be, so any cutting of the log into
chunks states the same bytes.

A limit's way (`budget.py`): the lane stops at the record that could bring a month to its limit, `_add` counts it, and
`_judge` adds the month up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from tables.admission import Admission
from tables.counters import EXACT
from tables.outcome import Outcome, Position, Record, Rows
from tables.seen import Seen, StoredIds, expiry_of
from tables.unsettled import Due, HourFold
from tables.usage.budget import FAR, Budgets, Crossing, Limits, NoLimits
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow, month_key, state
from tables.usage.open_hours import OpenHours
from tables.window import HOUR_MS, Rules, hour_of, month_end, month_of

MONTHS_MAX = 20_000  # that need not be read again at the next mark; ten megabytes


class Ledger(HourFold[Outcome, UsageRow]):
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
        limits: Limits | None = None,
    ) -> None:
        super().__init__(rules, admission, position, seen, hours, hours)
        self.rows = rows
        self.budgets = Budgets(NoLimits() if limits is None else limits)
        self.lane.limit(self.budgets.any)
        self._months: dict[MonthKey, MonthRow] = {}  # some that changed last
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
        for hour in self.lane.hours:
            if month_of(hour) == month.month:
                cost = EXACT.add(cost, self.lane.cost(HourKey(hour, *month[1:])))
        for key, row in self.unsettled.pending.items():
            if month_key(key) == month:
                cost = EXACT.add(cost, row.unstated)
        return cost

    def month(self, month: MonthKey) -> MonthRow:
        """A month's row, with what the chunk in hand has changed."""
        return self._outcome.months.get(month) or self._months.get(month) or self.rows.month(month)

    def hour(self, key: HourKey) -> UsageRow | None:
        """An hour's row as of the newest chunk, wherever it is. Not to be changed."""
        return self.unsettled.pending.get(key) or self._outcome.hours.get(key) or self.rows.hour(key)

    # -- records -------------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record], now_ms: int = 0) -> Outcome:
        if self.budgets.renewed():
            self.lane.limit(self.budgets.any)
        return super().apply(records, now_ms)

    def _begun(self, chunk: int) -> Outcome:
        return Outcome(chunk=chunk)

    def _add(self, row: UsageRow, event: Any, record: Record) -> None:
        key, data, outcome = row.key, event.data, self._outcome
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
        number = self.budgets.number(key) if self.budgets.any else None
        if key in self.unsettled.pending:
            outcome.others += row.count(names, numbers, record.offset, self.rules.names_max)
            outcome.rounded += event.is_rounded
            outcome.hours[key] = row
        else:
            self.lane.add(key, names, numbers, record.offset)
            if self.budgets.any:
                self.lane.bind(key, number)
        if number is not None and not self.lane.spend(number, data.cost_usd):
            self._judge(number, month_key(key), event.id, record.offset)

    def _judge(self, number: int, month: MonthKey, event_id: str, offset: int) -> None:
        """State the limits that a month has come to with this record, and say what is left until the next one."""
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
                row = row._replace(crossed=(*row.crossed, crossing.crossed))
                self._keep_month(month, row)
        self.lane.left(number, EXACT.subtract(ahead, cost))

    def _gather(self) -> None:
        outcome, lane = self._outcome, self.lane
        outcome.open = lane.changed()
        outcome.others += lane.others()
        outcome.rounded += lane.rounded()

    # -- rows ----------------------------------------------------------------------------------------------------

    def _key(self, hour: int, org: str, event: Any) -> HourKey:
        return HourKey(hour, org, event.team_id, event.data.currency)

    def _stored(self, key: HourKey) -> UsageRow:
        return self._outcome.hours.get(key) or self.rows.hour(key) or UsageRow(key)

    def _open(self, row: UsageRow) -> None:
        hour = row.key.start_ms
        if hour not in self.lane.hours:
            expiry_ms = expiry_of(hour, self._closes_ms(hour), self.rules)
            self.lane.open(hour, expiry_ms, hour >= self._new_from_ms)
        super()._open(row)

    def _keep_month(self, month: MonthKey, row: MonthRow) -> None:
        if len(self._months) >= MONTHS_MAX:
            self._months.clear()
        self._months[month] = self._outcome.months[month] = row

    def _state(self, due: list[Due[UsageRow]]) -> None:
        outcome = self._outcome
        for key, row, mark_ms in due:
            month = month_key(key)
            statement, running = state(row, self.month(month), mark_ms)
            self._keep_month(month, running)
            outcome.statements.append(statement)
            outcome.hours[key] = row

    def _expire(self, limit_ms: int) -> None:
        expire(self.position, self.rows, self._outcome, limit_ms)
        for month in self._outcome.old_months:
            self._months.pop(month, None)

    @staticmethod
    def _after(counted_ms: int) -> int:
        """The first hour that nothing counted up to a moment can be in."""
        return 0 if counted_ms < 0 else hour_of(counted_ms) + HOUR_MS


def expire(position: Position, rows: Rows, outcome: Outcome, limit_ms: int) -> None:
    """Let go of what no record can reach any more (decision 9: expired): hours that ended at or before `limit_ms`, and
    months when one has ended by then."""
    until_ms = hour_of(max(limit_ms, 0))
    if position.expired_ms < 0 or until_ms <= position.expired_ms:
        position.expired_ms = max(position.expired_ms, until_ms)
        return
    stored = {row.key: row for row in rows.hours_ending(position.expired_ms, until_ms)}
    for key in [key for key in outcome.hours if key.start_ms + HOUR_MS <= until_ms]:
        stored[key] = outcome.hours.pop(key)
    outcome.expired += [(key, -1 if row.revision is None else row.revision) for key, row in sorted(stored.items())]
    if month_of(position.expired_ms) != month_of(until_ms):
        now = [key for key in outcome.months if month_end(key.month) <= until_ms]
        outcome.old_months += sorted({*rows.months_ending(until_ms), *now})
        for month in now:
            del outcome.months[month]
    position.expired_ms = until_ms
