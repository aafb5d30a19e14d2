"""What teams have spent of their months, as the pages see it: bills, open and pending hours, limits, and the pace."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from streamapp.facts.budget import BudgetFacts, LimitFacts, MonthTally, Spending
from streamapp.meters.usage import codec
from streamapp.meters.usage.parts import UsageTask
from streamapp.meters.view import add
from streamapp.topics.partitioner import partition_for
from tables.counters import EXACT
from tables.usage.budget import DAY, Pace, pace
from tables.usage.hourly import HourKey, MonthKey, month_key
from tables.window import HOUR_MS, hour_of, month_of


class BudgetView:
    """The months of one partition. Exact as of the newest chunk, and bounded: nothing is read but a month's rows and a
    day's hours."""

    def __init__(self, task: UsageTask) -> None:
        self._task = task

    def team(self, org: str, team: str, month: str) -> list[BudgetFacts]:
        """A team's month, by currency; empty when the team is at home on another partition, or nothing is known."""
        task = self._task
        if partition_for(team.encode("utf-8", "replace"), task.place.partitions) != task.place.partition:
            return []
        month = month or self._present()
        names = {codec.unpack_month_key(key).currency for key in task.rows.scan(*codec.months_of(month, org, team))}
        names |= {key.currency for key in self._unstated(org, team)}
        limits = task.memory.budgets.known(team) if names or task.memory.budgets.any else ()
        names.update(limit.currency for limit in limits)
        return [self._facts(MonthKey(month, org, team, name)) for name in sorted(names)]

    def _unstated(self, org: str, team: str) -> Iterable[HourKey]:
        """A team's hours that are open or pending."""
        task = self._task
        for hour in task.memory.lane.hours:
            yield from map(codec.unpack_hour_key, task.rows.scan(*codec.hours_of(hour, org, team)))
        yield from (key for key in task.memory.unsettled.pending if key[1:3] == (org, team))

    def spending(self, month: str, org: str, team: str, most: int) -> Spending:
        """The months whose org and team contain these texts: all added up, and those with the highest sums."""
        ledger, month = self._task.memory, month or self._present()
        spent: dict[MonthKey, Decimal] = {}
        for raw, value in self._task.rows.scan(*codec.months_of(month)).items():
            spent[codec.unpack_month_key(raw)] = codec.unpack_month(value).cost
        late = ((key, row.unstated) for key, row in ledger.unsettled.pending.items())
        for hour, cost in (*ledger.lane.costs(), *late):
            if month_of(hour.start_ms) == month:
                key = month_key(hour)
                add(spent, key, cost)
        org, team = org.casefold(), team.casefold()
        found = {key: cost for key, cost in spent.items() if org in key.org.casefold() and team in key.team.casefold()}
        sums: dict[str, Decimal] = {}
        for key, cost in found.items():
            add(sums, key.currency, cost)
        highest = sorted(found, key=lambda key: (found[key].copy_negate(), key))[:most]
        tally = MonthTally(self._task.place.partition, len(found), sums)
        return Spending([self._facts(key) for key in highest], [tally])

    def _present(self) -> str:
        return month_of(max(0, self._task.watermark_ms))

    def _facts(self, key: MonthKey) -> BudgetFacts:
        ledger, watermark_ms = self._task.memory, self._task.watermark_ms
        row, spent = ledger.month(key), ledger.spent(key)
        found = self._pace(key, spent)
        at = {(one.kind, one.amount): one.at_ms for one in row.crossed}
        return BudgetFacts(
            org=key.org,
            team=key.team,
            currency=key.currency,
            month=key.month,
            spent=spent,
            billed=row.cost,
            open=EXACT.subtract(spent, row.cost),
            rate_per_hour=found.rate,
            forecast=found.forecast,
            limits=tuple(
                LimitFacts(one.kind, one.amount, EXACT.subtract(one.amount, spent), at.get((one.kind, one.amount)))
                for one in ledger.budgets.limits(key)
            ),
            partition=self._task.place.partition,
            watermark_ms=None if watermark_ms < 0 else watermark_ms,
        )

    def _pace(self, key: MonthKey, spent: Decimal) -> Pace:
        ledger, now_ms = self._task.memory, max(0, self._task.watermark_ms)
        last = hour_of(now_ms)
        starts = range(last - (DAY - 1) * HOUR_MS, last + 1, HOUR_MS)
        rows = ((start_ms, ledger.hour(HourKey(start_ms, *key[1:]))) for start_ms in starts)
        recent = [(start_ms, row.totals().cost) for start_ms, row in rows if row is not None]
        return pace(spent, recent, key.month, now_ms)
