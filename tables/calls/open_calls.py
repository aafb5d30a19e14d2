"""The calls of the hours that are open, as the table of metered calls knows them.

They are counted so often, and looked at so seldom, that they need not be Python's objects: whoever keeps them hands out
rows as they are stored, and objects of an hour that closes. It is the table's fast path, too: it counts plain
records by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from tables.calls.settlement import OTHER_METHOD, CallsKey, HourCalls, Payment
from tables.fast_path import FastPath, NoFastPath
from tables.usage.hourly import EVERY

StoredCalls = tuple[bytes, bytes]
"""Key and value of an open hour's row, as they are stored."""


class OpenCalls(FastPath, Protocol):
    """Counts the calls of open hours. Every row of such an hour is here."""

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`."""

    def admit(self, row: HourCalls) -> None:
        """A stored row of an open hour."""

    def add(self, key: CallsKey, method: str, cost: Decimal, offset: int, payment: Payment) -> None:
        """Count a call in an open hour."""

    def close(self, hour_ms: int) -> Iterable[HourCalls]:
        """The hour is open no longer: all its rows, in no order."""

    def changed(self) -> Mapping[bytes, bytes]:
        """The rows of open hours that changed since the last call, as they are stored."""

    def rows(self) -> Iterable[HourCalls]:
        """All rows of open hours, as they are now; they are not changed."""

    def others(self) -> int:
        """How many calls were counted as other methods since the last call of this."""

    def __len__(self) -> int:
        """How many rows there are."""


class PlainCalls(NoFastPath):
    """Open hours in dicts, and a lane that takes nothing: the table counts every record. `stored` says how a row is
    stored, `names_max` how many methods a row tells apart."""

    def __init__(self, stored: Callable[[HourCalls], StoredCalls], names_max: int = EVERY) -> None:
        self._stored = stored
        self._names_max = names_max
        self._others = 0
        self._hours: dict[int, dict[CallsKey, HourCalls]] = {}
        self._changed: dict[CallsKey, HourCalls] = {}

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        self._hours.setdefault(hour_ms, {})

    def admit(self, row: HourCalls) -> None:
        self._hours[row.key.start_ms][row.key] = row

    def add(self, key: CallsKey, method: str, cost: Decimal, offset: int, payment: Payment) -> None:
        hour = self._hours[key.start_ms]
        row = hour.get(key)
        if row is None:
            row = hour[key] = HourCalls(key)
        sums = row.method(method, self._names_max)
        sums.add(1, cost)
        self._others += sums is row.methods.get(OTHER_METHOD)
        row.cover(offset, offset, payment)
        self._changed[key] = row

    def close(self, hour_ms: int) -> Iterable[HourCalls]:
        rows = self._hours.pop(hour_ms).values()
        for row in rows:
            self._changed.pop(row.key, None)
        return rows

    def changed(self) -> Mapping[bytes, bytes]:
        changed, self._changed = self._changed, {}
        return dict(map(self._stored, changed.values()))

    def rows(self) -> Iterable[HourCalls]:
        return [row for hour in self._hours.values() for row in hour.values()]

    def others(self) -> int:
        others, self._others = self._others, 0
        return others

    def __len__(self) -> int:
        return sum(map(len, self._hours.values()))

    def load(self, records: Sequence[Any]) -> None:
        pass

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        return at, watermark_ms, 0
