"""The open hours of usage in plain Python: what the compiled ones are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from streamapp.meters.usage.codec import stored_hour
from tables.counters import NOTHING, Numbers
from tables.fast_path import NoFastPath
from tables.unsettled import RowsInMemory
from tables.usage.hourly import HourKey, Names, UsageRow
from tables.window import EVERY


class PlainHours(NoFastPath, RowsInMemory[UsageRow]):
    """Open hours in dicts, and a lane that takes nothing: the ledger counts every record, and adds up a month at each.
    `names_max`: how many lines a row tells apart."""

    def __init__(self, names_max: int = EVERY) -> None:
        super().__init__()
        self._names_max = names_max
        self._others = self._rounded = 0
        self._changed: dict[HourKey, UsageRow] = {}

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        self.hours.setdefault(hour_ms, {})

    def add(self, key: HourKey, names: Names, numbers: Numbers, offset: int) -> None:
        row = self.hours[key.start_ms].setdefault(key, UsageRow(key))
        self._others += row.count(names, numbers, offset, self._names_max)
        self._rounded += numbers[-1]
        self._changed[key] = row

    def close(self, hour_ms: int) -> Iterable[UsageRow]:
        rows = super().close(hour_ms)
        for row in rows:
            self._changed.pop(row.key, None)
        return rows

    def changed(self) -> Mapping[bytes, bytes]:
        changed, self._changed = self._changed, {}
        return dict(map(stored_hour, changed.values()))

    def stored_rows(self) -> Iterable[tuple[bytes, bytes]]:
        return [stored_hour(row) for hour in self.hours.values() for row in hour.values()]

    def others(self) -> int:
        others, self._others = self._others, 0
        return others

    def rounded(self) -> int:
        rounded, self._rounded = self._rounded, 0
        return rounded

    def cost(self, key: HourKey) -> Decimal:
        row = self.find(key)
        return NOTHING if row is None else row.unstated

    def costs(self) -> Iterator[tuple[HourKey, Decimal]]:
        for rows in self.hours.values():
            yield from ((key, row.unstated) for key, row in rows.items())

    def limit(self, is_limited: bool) -> None:
        pass

    def bind(self, key: HourKey, budget: int | None) -> None:
        pass

    def left(self, budget: int, amount: Decimal) -> None:
        pass

    def spend(self, budget: int, cost: Decimal) -> bool:
        return False
