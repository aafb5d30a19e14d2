"""The compiled fast path of one partition."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal

from streamapp.lane.ids import CompactSeen
from streamapp.lane.walk import Walk, done
from tables.counters import EXACT
from tables.usage.hourly import EVERY, HourKey, Line
from tables.usage.lane import LineKey, Sum

_SUM = struct.Struct("<7q2Q4q")  # `sum_t`
_UNIT = Decimal("1E-12")
_LOW = (1 << 64) - 1


class Lane(Walk):
    """Counts plain records with the ids of `seen`; `partition` of `partitions` is where its teams are at home;
    `names_max` lines of a row are told apart."""

    def __init__(
        self, seen: CompactSeen, partition: int, partitions: int, future_ms: int, names_max: int = EVERY
    ) -> None:
        super().__init__("usage_new", seen, partition, partitions, future_ms, names_max)
        self._lines: dict[int, list[Line | None]] = {}  # hour → its lines, by number

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        super().open(hour_ms, expiry_ms, is_new)
        self._lines[hour_ms] = []

    def close(self, hour_ms: int) -> None:
        self.close_hour(hour_ms)
        del self._lines[hour_ms]

    def learn(self, key: LineKey, line: Line) -> None:
        hour = key.hour
        row = _row_text(hour)
        text = row + f"{key.provider}\0{key.model}".encode()
        number = done(self._library.usage_line(self._handle, hour.start_ms, text, len(text), len(row)))
        if number >= 0:
            self._know(self._lines[hour.start_ms], number, line)

    def limit(self, is_limited: bool) -> None:
        self._library.usage_limited(self._handle, is_limited)

    def bind(self, hour: HourKey, budget: int) -> None:
        text = _row_text(hour)
        done(self._library.usage_bind(self._handle, hour.start_ms, text, len(text), budget))

    def left(self, budget: int, amount: Decimal) -> None:
        done(self._library.usage_left(self._handle, budget, *_halves(amount)))

    def spend(self, budget: int, cost: Decimal) -> bool:
        return bool(self._library.usage_spend(self._handle, budget, *_halves(cost)))

    def take(self, line_of: Callable[[LineKey], Line]) -> Iterator[Sum]:
        count = self._library.usage_touched(self._handle)
        sums = ctypes.create_string_buffer(count * _SUM.size)
        self._library.usage_take(self._handle, sums)
        multiply, known = EXACT.multiply, self._lines
        for (
            hour_ms,
            number,
            *counts,
            cost_low,
            cost_high,
            other,
            rounded,
            first_offset,
            last_offset,
        ) in _SUM.iter_unpack(sums):
            lines = known[hour_ms]
            line = lines[number] if number < len(lines) else None
            if line is None:
                line = line_of(self._key(hour_ms, number))
                self._know(lines, number, line)
            units = cost_high << 64 | cost_low if cost_high else cost_low
            yield line, (*counts, multiply(Decimal(units), _UNIT), other, rounded), first_offset, last_offset

    def _key(self, hour_ms: int, number: int) -> LineKey:
        start = ctypes.c_void_p()
        length = self._library.usage_key(self._handle, hour_ms, number, ctypes.byref(start))
        text = ctypes.string_at(start, length).decode()
        org, team, currency, provider, model = text.split("\0")
        return LineKey(HourKey(hour_ms, org, team, currency), provider, model)

    @staticmethod
    def _know(lines: list[Line | None], number: int, line: Line) -> None:
        lines += [None] * (number + 1 - len(lines))
        lines[number] = line


def _row_text(hour: HourKey) -> bytes:
    return "\0".join((hour.org, hour.team, hour.currency, "")).encode()


def _halves(amount: Decimal) -> tuple[int, int]:
    """An amount of at most 26 integer digits in units of 10^-12, low 64 bits and high ones."""
    units = int(EXACT.scaleb(amount, 12))
    return units & _LOW, units >> 64
