"""The open calls of the table of metered calls, in plain Python: what the compiled ones are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from streamapp.meters.calls.rpc_codec import hour_key, pack_hour
from tables.calls.settlement import OTHER_METHOD, CallsKey, HourCalls, Payment
from tables.fast_path import NoFastPath
from tables.window import EVERY


def stored_hour(row: HourCalls) -> tuple[bytes, bytes]:
    """Key and value of an open hour's row."""
    return hour_key(row.key), pack_hour(row)


class PlainCalls(NoFastPath):
    """Open hours in dicts, and a lane that takes nothing: the table counts every record. `names_max`: how many methods
    a row tells apart."""

    def __init__(self, names_max: int = EVERY) -> None:
        self._names_max = names_max
        self._others = 0
        self._hours: dict[int, dict[CallsKey, HourCalls]] = {}
        self._changed: dict[CallsKey, HourCalls] = {}

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
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
        return dict(map(stored_hour, changed.values()))

    def rows(self) -> Iterable[HourCalls]:
        return [row for hour in self._hours.values() for row in hour.values()]

    def others(self) -> int:
        others, self._others = self._others, 0
        return others

    def __len__(self) -> int:
        return sum(map(len, self._hours.values()))
