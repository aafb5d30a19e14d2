"""The dead letters table's worker as the pages and Prometheus see it: what is counted is read from the table."""

from __future__ import annotations

from typing import Any

from streamapp.clock import Clock
from streamapp.exact.partition.task import TableTask
from streamapp.meters.letters.parts import ToldLetters
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics, LetterCounts, LetterMetrics
from streamapp.store.table import Table
from tables.letters.fold import WINDOW_MS


class LettersView(TableView):
    """Pages of a group with a table, and the counts of dead letters."""

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        super().__init__(app, metrics, clock, table)
        metrics.registry.register(LetterMetrics(self.counts))

    def counts(self) -> LetterCounts:
        """Of the partitions in hand, now."""
        counts = LetterCounts()
        for told in self._told_letters():
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

    def _told_letters(self) -> list[ToldLetters]:
        tasks = [partition.task for partition in self._partitions().values()]
        return [task.memory for task in tasks if isinstance(task, TableTask)]
