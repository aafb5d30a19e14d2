"""The dead letters table's worker as the pages and Prometheus see it: what is counted is read from the table."""

from __future__ import annotations

from typing import Any, Literal

from streamapp.clock import Clock
from streamapp.exact.partition.task import TableTask
from streamapp.facts.events import IncidentFacts
from streamapp.meters.letters.metrics import LetterCounts, LetterMetrics
from streamapp.meters.letters.parts import ToldLetters
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table
from tables.letters.fold import WINDOW_MS
from tables.letters.incident import AlertRules, CauseRow


class LettersView(TableView):
    """Pages of a group with a table, and the counts of dead letters."""

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        super().__init__(app, metrics, clock, table)
        metrics.registry.register(LetterMetrics(self.counts))

    def counts(self) -> LetterCounts:
        """Of the partitions in hand, now."""
        counts = LetterCounts()
        for told in self._told_by_partition().values():
            letters = told.letters
            for (topic, by, reason), count in letters.tallies.items():
                counts.totals[topic, by, reason] += count
            newest = self.clock() // WINDOW_MS * WINDOW_MS
            for (start_ms, name), count in letters.windows.items():
                row = letters.causes.get(name)
                if start_ms == newest and row is not None:
                    counts.window[row.cause.topic, row.cause.by, row.cause.reason] += count
            counts.open += len(letters.open)
            counts.causes += len(letters.causes)
            counts.told.update(told.told)
            counts.waiting.update(told.courier.waiting)
        return counts

    def incidents(self) -> list[IncidentFacts]:
        return [
            _incident(name, row, told.letters.rules, number)
            for number, told in self._told_by_partition().items()
            for name, row in told.letters.causes.items()
            if row.incidents
        ]

    def _told_by_partition(self) -> dict[int, ToldLetters]:
        tasks = ((number, partition.task) for number, partition in self._partitions().items())
        return {number: task.memory for number, task in tasks if isinstance(task, TableTask)}


def _incident(name: str, row: CauseRow, rules: AlertRules, partition: int) -> IncidentFacts:
    state: Literal["open", "grown", "quiet"] = "quiet"
    if row.opened_ms is not None:
        state = "grown" if row.told_ms > row.opened_ms else "open"
    owed = tuple(dict.fromkeys(where for alert in row.alerts if alert.number == row.incidents for where in alert.owed))
    cause = row.cause
    return IncidentFacts(
        name,
        cause.topic,
        cause.by,
        cause.reason,
        cause.shape,
        row.incidents,
        state,
        row.opened_ms,
        row.first_ms,
        row.last_ms,
        row.quiet_at_ms(rules),
        row.letters - (row.letters_before if row.opened_ms is not None else 0),
        tuple(where for where in rules.destinations if where not in owed),
        owed,
        partition,
    )
