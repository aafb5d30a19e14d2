"""The hourly table's worker as the pages see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal

import msgspec

from streamapp.exact.partition.owned import Partition
from streamapp.facts.budget import BudgetFacts, Spending
from streamapp.facts.events import WindowFacts
from streamapp.facts.worker import HourFacts, TeamFacts
from streamapp.meters.listed import ListedView
from streamapp.meters.usage import codec
from streamapp.meters.usage.budget_view import BudgetView
from streamapp.meters.usage.hours_view import CLOSED_MAX, HoursView
from streamapp.meters.usage.parts import UsageTask
from streamapp.meters.usage.statement import bill_id
from streamapp.meters.view import Sums, add, count_stated
from streamapp.schemas.billing import COUNTERS
from tables.counters import EXACT, NOTHING, Counters
from tables.outcome import Outcome
from tables.usage.hourly import HourKey, MonthKey, UsageRow
from tables.window import HOUR_MS, hour_of, month_of

TEAM_HOURS_MAX = 744  # a month


class UsageView(ListedView[HoursView, HourFacts]):
    """The hourly table's pages."""

    listed = "hours"
    bills = True
    _budgets: Mapping[int, BudgetView] = {}

    def taken(self, partitions: dict[int, Partition]) -> None:
        super().taken(partitions)
        self._budgets = {number: BudgetView(view.task) for number, view in self._views.items()}

    def _view(self, task: UsageTask, partitions: int) -> HoursView:
        return HoursView(task, CLOSED_MAX // partitions)

    def _facts(self) -> list[HourFacts]:
        hours = [facts for view in self._views.values() for facts in view.open()]
        hours += [facts for view in self._views.values() for facts in view.closed()]
        return sorted(hours, key=lambda facts: -facts.start_ms)

    def hours(self) -> list[HourFacts]:
        return self._listed()

    def team(self, org: str, team: str) -> list[TeamFacts]:
        theirs = [facts for facts in self.hours() if facts.team == team and facts.org == org]
        return [
            self._team(org, team, currency, [facts for facts in theirs if facts.currency == currency])
            for currency in sorted({facts.currency for facts in theirs})
        ]

    def budgets(self, org: str, team: str, month: str) -> list[BudgetFacts]:
        return [facts for view in self._budgets.values() for facts in view.team(org, team, month)]

    def spending(self, month: str, org: str, team: str, most: int) -> Spending:
        parts = [view.spending(month, org, team, most) for view in self._budgets.values()]
        return Spending(
            [facts for part in parts for facts in part.months], [tally for part in parts for tally in part.tallies]
        )

    def models(self, row: HourFacts) -> list[tuple[str, str, HourFacts]]:
        view = self._views.get(row.partition)
        key = HourKey(row.start_ms, row.org, row.team, row.currency)
        kept = None if view is None else view.task.memory.hour(key)
        if kept is None or view is None:
            return []
        billed = _billed_lines(view.task, kept) if row.pending else {}
        return [
            (*names, _part(row, line, billed.get(names, NOTHING) if row.pending else line.cost))
            for names, line in kept.lines.items()
        ]

    def bill(self, bill_id: str) -> list[bytes]:
        for task in self._tasks():
            value = task.store.get(codec.bill_key(bill_id))
            if value is not None:
                return self.statements(task, value)
        return []

    def window(self, names: tuple[str, ...], at_ms: int) -> list[WindowFacts]:
        if len(names) != 3:
            return []
        org, team, currency = names
        return [
            facts for view in self._views.values() if (facts := _window(self, view.task, org, team, currency, at_ms))
        ]

    def _landed(self, task: UsageTask, outcome: Outcome) -> None:
        super()._landed(task, outcome)
        count_stated(self._metrics, self.clock(), outcome.statements)
        self._metrics.stated("budget", len(outcome.crossings))

    def _tasks(self) -> list[UsageTask]:
        return [view.task for view in self._views.values()]

    def _open_events(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for facts in self.hours():
            if facts.state == "open":
                counts[facts.currency] += facts.requests
        return dict(counts)

    def _money(self) -> tuple[Sums, Sums, Sums]:
        open_: Sums = {}
        for facts in self.hours():
            if facts.state == "open":
                add(open_, facts.currency, facts.cost)
        return open_, *self._stated_today()

    def _team(self, org: str, team: str, currency: str, hours: list[HourFacts]) -> TeamFacts:
        task = self._views[hours[0].partition].task
        hours = hours[:TEAM_HOURS_MAX]
        months = dict.fromkeys(month_of(facts.start_ms) for facts in hours)
        rows = [row for facts in hours if (row := task.memory.hour(HourKey(facts.start_ms, org, team, currency)))]
        stated = []
        for month in months:
            running = task.memory.rows.month(MonthKey(month, org, team, currency))
            stated.append((month, running.cost, running.total_tokens))
        return TeamFacts(org, team, currency, tuple(stated), tuple(hours), _lines(rows))

    def statements(self, task: UsageTask, value: bytes) -> list[bytes]:
        """Every revision of the bucket that a statement is about."""
        facts = codec.bucket_of(value)
        row = task.memory.rows.hour(facts)
        revisions = 0 if row is None or row.revision is None else row.revision
        bills = (task.store.get(codec.bill_key(bill_id(facts, number))) for number in range(revisions + 1))
        return [bill for bill in bills if bill is not None]


def _billed_lines(task: UsageTask, row: UsageRow) -> dict[tuple[str, str], Decimal]:
    """What the newest bill of an hour states by provider and model."""
    value = None if row.revision is None else task.store.get(codec.bill_key(bill_id(row.key, row.revision)))
    lines = [] if value is None else msgspec.json.decode(value)["data"]["lines"]
    return {(line["provider"], line["model"]): Decimal(line["cost"]) for line in lines}


def _part(row: HourFacts, line: Counters, billed: Decimal) -> HourFacts:
    """What one line has of an hour. `billed`: what the hour's bills state of it, where late usage is pending."""
    return replace(
        row,
        **_stated(line),
        rounded=line.rounded,
        pending_cost=EXACT.subtract(line.cost, billed),
    )


def _window(view: UsageView, task: UsageTask, org: str, team: str, currency: str, at_ms: int) -> WindowFacts | None:
    ledger = task.memory
    whose = ledger.admission.org(SimpleNamespace(org_id=org, team_id=team)) or org
    key = HourKey(hour_of(at_ms), whose, team, currency)
    row = ledger.hour(key)
    if row is None:
        return None
    stated: list[bytes] = []
    if row.revision is not None:
        value = task.store.get(codec.bill_key(bill_id(key, row.revision)))
        stated = [] if value is None else view.statements(task, value)
    is_pending = key in ledger.unsettled.pending
    watermark_ms = ledger.position.watermark_ms
    due_ms = (
        ledger.unsettled.due_ms
        if is_pending
        else key.start_ms + HOUR_MS + ledger.rules.grace_ms
        if row.revision is None
        else None
    )
    state: Literal["open", "pending", "stated"] = "pending" if is_pending else "open" if due_ms else "stated"
    return WindowFacts(
        task.place.partition,
        state,
        (whose, team, currency),
        key.start_ms,
        None if watermark_ms < 0 else watermark_ms,
        due_ms,
        tuple(bill.decode() for bill in stated),
    )


def _lines(rows: list[UsageRow]) -> tuple[dict[str, Any], ...]:
    sums: dict[tuple[str, str], Counters] = {}
    for row in rows:
        for names, line in row.lines.items():
            sums[names] = sums.get(names, Counters()) + line
    return tuple(
        {"provider": provider, "model": model, **_stated(line)} for (provider, model), line in sorted(sums.items())
    )


def _stated(line: Counters) -> dict[str, Any]:
    """The counters that a bill has, by name."""
    return {name: getattr(line, name) for name in (*COUNTERS, "cost")}
