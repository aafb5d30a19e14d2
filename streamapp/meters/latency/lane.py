"""The compiled fast path of one partition's latency table."""

from __future__ import annotations

import ctypes
from typing import Any

from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import Taken
from streamapp.lane.walk import LOW, Walk, amount, done
from streamapp.meters.latency.codec import stored_bins
from tables.latency.lane import Sum
from tables.latency.spread import BOUNDS_US, EDGES_US
from tables.latency.tally import ALL, NUMBERS, Bins, Name, Series, Tally
from tables.latency.windows import HOUR, MINUTE, WindowKey

BOUNDS = 12  # as in `latency.h`
HEAD = 7  # numbers before the counts in `slot_t`
SLOT = HEAD + NUMBERS
_SPANS = (MINUTE, HOUR)
_STREAMS = {-1: None, 0: False, 1: True}
assert len(BOUNDS_US) == BOUNDS, "the library has room for so many"


class CompiledTally(Walk):
    """Counts plain records with the ids of `seen`; `partition` of `partitions` is where its teams are at home."""

    def __init__(self, seen: CompactSeen, partition: int, partitions: int, future_ms: int) -> None:
        edges = (ctypes.c_int64 * len(EDGES_US))(*EDGES_US)
        bounds = (ctypes.c_int64 * len(BOUNDS_US))(*BOUNDS_US)
        super().__init__("latency_new", seen, partition, partitions, future_ms, edges, len(edges), bounds)
        self._names: dict[Name, int] = {}  # numbered in this order, like the currencies
        self._currencies: dict[str, int] = {}

    def close(self, hour_ms: int) -> None:
        self.close_hour(hour_ms)

    def learn(self, name: Name, currency: str) -> None:
        text = "\0".join((*name, currency)).encode()
        name_at = self._names.setdefault(name, len(self._names))
        currency_at = self._currencies.setdefault(currency, len(self._currencies))
        done(self._library.latency_learn(self._handle, text, len(text), name_at, currency_at))

    def forget(self) -> None:
        assert not self._library.latency_touched(self._handle), "what was counted is not taken yet"
        self._library.latency_forget(self._handle)
        self._names.clear()
        self._currencies.clear()

    def take(self) -> list[Sum]:
        slots, spreads = self._taken()
        names, currencies = list(self._names), list(self._currencies)
        series_of: dict[tuple[int, int], Series] = {(-1, -1): ALL}
        sums: list[Sum] = []
        for number, at in enumerate(range(0, len(slots), SLOT)):
            is_hour, start_ms, name, stream, currency, low, high = slots[at : at + HEAD]
            series = series_of.get((name, stream))
            if series is None:
                series = series_of[name, stream] = Series(*names[name], _STREAMS[stream])
            cost = {currencies[currency]: amount(low & LOW, high & LOW)}  # without a sign there, with one here
            tally = Tally(slots[at + HEAD : at + SLOT], cost, spreads[2 * number], spreads[2 * number + 1])
            sums.append((WindowKey(_SPANS[is_hour], start_ms, series), tally))
        return sums

    def _taken(self) -> tuple[list[int], list[Bins]]:
        """Slots, number behind number; of each slot the bins of latency and of ttft."""
        found = Taken()
        done(self._library.latency_take(self._handle, ctypes.byref(found)))
        packed = ctypes.string_at(found.packed, found.packed_length) if found.packed_length else b""
        spreads: list[Bins] = []
        at = 0
        for end in _numbers(ctypes.c_int32, found.ends, 2 * found.slot_count):
            spreads.append(stored_bins(packed[at:end]))
            at = end
        return _numbers(ctypes.c_int64, found.slots, found.slot_count * SLOT), spreads


def _numbers(kind: Any, start: int | None, count: int) -> list[int]:
    """So many numbers that lie in the library's memory."""
    return (kind * count).from_address(start)[:] if start and count else []
