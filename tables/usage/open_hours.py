"""The open hours of usage, as the ledger knows them.

They are counted so often, and looked at so seldom, that they need not be Python's objects: whoever keeps them hands out
rows as they are stored, and objects of an hour that closes. It is the ledger's fast path, too: it counts plain records
by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tables.counters import Numbers
from tables.fast_path import FastPath, NoFastPath
from tables.usage.hourly import EVERY, HourKey, Names, UsageRow

StoredHour = tuple[bytes, bytes]
"""Key and value of an open hour's row, as they are stored."""


class OpenHours(FastPath, Protocol):
    """Counts the usage of open hours. Of such an hour every row is here of which nothing was stated."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`. `is_new`: none of its rows can be stored, so one
        that is not known is a new one."""

    def admit(self, row: UsageRow) -> None:
        """A stored row of an open hour."""

    def knows(self, key: HourKey) -> bool:
        """Whether a row is here."""

    def add(self, key: HourKey, names: Names, numbers: Numbers, offset: int) -> None:
        """Count a record in an open hour."""

    def close(self, hour_ms: int) -> Iterable[UsageRow]:
        """The hour is open no longer: all its rows, in no order."""

    def changed(self) -> Mapping[bytes, bytes]:
        """The rows of open hours that changed since the last call, as they are stored."""

    def stored_rows(self) -> Iterable[StoredHour]:
        """All rows of open hours, as they are stored."""

    def others(self) -> int:
        """How many records counted in a line of the others since the last call."""

    def rounded(self) -> int:
        """How many records had a cost that was rounded since the last call."""

    def __len__(self) -> int:
        """How many rows there are."""


class PlainHours(NoFastPath):
    """Open hours in dicts, and a lane that takes nothing: the ledger judges every record. `stored` says how a row is
    stored, `names_max` how many lines a row tells apart."""

    def __init__(self, stored: Callable[[UsageRow], StoredHour], names_max: int = EVERY) -> None:
        self._stored = stored
        self._names_max = names_max
        self._others = self._rounded = 0
        self._hours: dict[int, dict[HourKey, UsageRow]] = {}
        self._changed: dict[HourKey, UsageRow] = {}

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        self._hours.setdefault(hour_ms, {})

    def admit(self, row: UsageRow) -> None:
        self._hours[row.key.start_ms][row.key] = row

    def knows(self, key: HourKey) -> bool:
        return key in self._hours.get(key.start_ms, ())

    def add(self, key: HourKey, names: Names, numbers: Numbers, offset: int) -> None:
        hour = self._hours[key.start_ms]
        row = hour.get(key)
        if row is None:
            row = hour[key] = UsageRow(key)
        self._others += row.count(names, numbers, offset, self._names_max)
        self._rounded += numbers[-1]
        self._changed[key] = row

    def close(self, hour_ms: int) -> Iterable[UsageRow]:
        rows = self._hours.pop(hour_ms).values()
        for row in rows:
            self._changed.pop(row.key, None)
        return rows

    def changed(self) -> Mapping[bytes, bytes]:
        changed, self._changed = self._changed, {}
        return dict(map(self._stored, changed.values()))

    def stored_rows(self) -> Iterable[StoredHour]:
        return [self._stored(row) for hour in self._hours.values() for row in hour.values()]

    def others(self) -> int:
        others, self._others = self._others, 0
        return others

    def rounded(self) -> int:
        rounded, self._rounded = self._rounded, 0
        return rounded

    def __len__(self) -> int:
        return sum(map(len, self._hours.values()))
