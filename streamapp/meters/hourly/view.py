"""The worker of a table of rows by key and hour as the pages see it."""

from __future__ import annotations

from collections import deque
from heapq import nsmallest
from typing import Any

from streamapp.clock import Clock
from streamapp.facts.worker import RowFacts
from streamapp.meters.hourly.codec import ROWS_END, RowTable
from streamapp.meters.view import TableView, count_stated
from streamapp.metrics import GroupMetrics
from streamapp.store.rows import Store
from streamapp.store.table import Table
from tables.keyed import KeyedOutcome


class RowView(TableView):
    """What is open, what waits for a revision, what was stated; implements `facts.RowsView`, too."""

    bills = True

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table, kept: RowTable) -> None:
        super().__init__(app, metrics, clock, table)
        self._kept = kept

    def since(self, start_ms: int, limit: int) -> list[RowFacts]:
        kept = self._kept
        rows = (
            (kept.unpack_key(key), key, value, number)
            for number, store in self._stores().items()
            for key, value in store.scan(self._newest(store, start_ms, limit), ROWS_END)
        )
        chosen = nsmallest(limit, rows, key=lambda row: (-row[0][0], tuple(map(str, row[0][1:]))))
        return [kept.facts(key, value, number) for _, key, value, number in chosen]

    def _newest(self, store: Store, start_ms: int, limit: int) -> bytes:
        """Where the hour begins that has the `limit`th row from the end: none before it is among the newest. Keys are
        in the order of time, and within an hour in no order that people know: that hour is needed whole."""
        first = self._kept.hours_from(start_ms)
        last = deque((key for key, _ in store.scan(first, ROWS_END)), limit)
        return self._kept.hours_from(self._kept.unpack_key(last[0])[0]) if last else first

    def _landed(self, task: Any, outcome: KeyedOutcome) -> None:
        super()._landed(task, outcome)
        count_stated(self._metrics, self.clock(), outcome.statements)
