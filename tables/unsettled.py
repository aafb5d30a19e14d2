"""The rows of a partition that are not fully stated: those of open hours, and closed ones that late events came for.

Arithmetic of marks alone (decision 9): it knows of a row its key, whose `start_ms` is the hour. Whoever holds the rows
states them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from tables.window import HOUR_MS, mark_after

NEVER = 1 << 62

Row = TypeVar("Row")


class Unsettled(Generic[Row]):
    """Key → row. A row is open until its hour closes; a pending one waits for the next five-minute mark."""

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._open: dict[int, dict[Any, Row]] = {}  # hour → its rows
        self._pending: dict[Any, Row] = {}
        self._due_ms = NEVER  # the mark at which the pending are stated

    def find(self, key: Any) -> Row | None:
        """The row of a key, if it is not fully stated."""
        return self._open.get(key.start_ms, {}).get(key) or self._pending.get(key)

    def open(self, key: Any, row: Row) -> None:
        """Keep a row until its hour closes."""
        self._open.setdefault(key.start_ms, {})[key] = row

    def wait(self, key: Any, row: Row, watermark_ms: int) -> None:
        """Keep a row until the first five-minute mark above the watermark, or the one that others wait for."""
        if not self._pending:
            self._due_ms = mark_after(watermark_ms)
        self._pending[key] = row

    def take(self, watermark_ms: int) -> list[tuple[Any, Row, int]]:
        """Let go of what a watermark brings due: key, row and the mark, in the order of keys."""
        due = [
            (*item, self._closes_ms(hour)) for hour in self._closed(watermark_ms) for item in self._open[hour].items()
        ]
        if self._due_ms <= watermark_ms:
            due += [(*item, self._due_ms) for item in self._pending.items()]
            self._clear()
        return self._taken(due, watermark_ms)

    def take_idle(self, now_ms: int) -> list[tuple[Any, Row, int]]:
        """Let go of what the wall clock brings due in a silent partition: hours that are over, and all that wait."""
        due = [(*item, now_ms) for hour in self._closed(now_ms) for item in self._open[hour].items()]
        due += [(*item, now_ms) for item in self._pending.items()]
        self._clear()
        return self._taken(due, now_ms)

    def idle_due(self, now_ms: int) -> bool:
        """Whether `take_idle` would find anything."""
        return bool(self._pending) or any(True for _ in self._closed(now_ms))

    @property
    def next_ms(self) -> int:
        """The lowest watermark at which anything is due; `NEVER`."""
        return min(self._closes_ms(min(self._open)) if self._open else NEVER, self._due_ms)

    @property
    def open_rows(self) -> int:
        """How many rows of open hours there are."""
        return sum(map(len, self._open.values()))

    @property
    def pending(self) -> int:
        """How many closed rows wait to be stated again."""
        return len(self._pending)

    def _closes_ms(self, hour: int) -> int:
        return hour + HOUR_MS + self._grace_ms

    def _closed(self, at_ms: int) -> Iterator[int]:
        return (hour for hour in self._open if self._closes_ms(hour) <= at_ms)

    def _clear(self) -> None:
        self._pending, self._due_ms = {}, NEVER

    def _taken(self, due: list[tuple[Any, Row, int]], at_ms: int) -> list[tuple[Any, Row, int]]:
        for hour in list(self._closed(at_ms)):
            del self._open[hour]
        return sorted(due, key=lambda item: item[0])
