"""The compiled express lane of one partition's latency table."""

from __future__ import annotations

import ctypes
import struct
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from streamapp.runtime.express.ids import CompactSeen
from streamapp.runtime.express.lane import done, one_stretch
from streamapp.runtime.express.library import Run, library
from streamapp.runtime.records import Records
from tables.counters import EXACT
from tables.spread import BOUNDS_US, EDGES_US
from tables.tally import NUMBERS, Name, Series, Tally
from tables.tally_lane import Sum
from tables.window import HOUR_MS

BOUNDS = 12  # as in `tally.h`
_SLOT = struct.Struct(f"<3q2Q{NUMBERS}q")  # `slot_sum_t`
_BIN = struct.Struct("<4i")  # `bin_t`
_UNIT = Decimal("1E-12")
_STREAMS = {-1: None, 0: False, 1: True}
assert len(BOUNDS_US) == BOUNDS, "the library has room for so many"


class CompiledTally:
    """Counts plain records with the ids of `seen`; `partition` of `partitions` is where its teams are at home."""

    def __init__(self, seen: CompactSeen, partition: int, partitions: int, future_ms: int) -> None:
        self._library = library()
        self._seen = seen  # its memory is used as long as this lives
        edges = (ctypes.c_int64 * len(EDGES_US))(*EDGES_US)
        bounds = (ctypes.c_int64 * len(BOUNDS_US))(*BOUNDS_US)
        self._handle = self._library.tally_new(seen.handle, partition, partitions, future_ms, edges, len(edges), bounds)
        if not self._handle:
            raise MemoryError("no memory for the express lane")
        weakref.finalize(self, self._library.tally_free, self._handle)
        self._items: list[tuple[Name, str]] = []  # by number
        self._records = Records()  # the chunk that is counted

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        self._library.tally_open(self._handle, hour_ms, expiry_ms // HOUR_MS)

    def close(self, hour_ms: int) -> None:
        self._library.tally_close(self._handle, hour_ms)

    def learn(self, name: Name, currency: str) -> None:
        text = "\0".join((*name, currency)).encode()
        number = done(self._library.tally_learn(self._handle, text, len(text)))
        if number == len(self._items):
            self._items.append((name, currency))

    def forget(self) -> None:
        assert not self._library.tally_slots(self._handle), "what was counted is not taken yet"
        self._library.tally_forget(self._handle)
        self._items.clear()

    def load(self, records: Sequence[Any]) -> None:
        self._records = records if isinstance(records, Records) else Records([one_stretch(records)])

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        state = Run(watermark_ms, next_mark_ms, 0)
        parts, ends = self._records.stretches, self._records.ends
        for number in range(bisect_right(ends, at), len(ends)):
            part, end = parts[number], ends[number]
            payload, stop = part.payload, part.stop
            shift = stop - end  # from the chunk's numbers to the payload's
            told = ctypes.byref(state)
            reached = self._library.tally_run(self._handle, payload.data, payload.parts, at + shift, stop, told)
            at = done(reached) - shift
            if at < end:
                break
        return at, state.watermark_ms, state.duplicates

    def take(self) -> list[Sum]:
        handle = self._handle
        slots = ctypes.create_string_buffer(self._library.tally_slots(handle) * _SLOT.size)
        bins = ctypes.create_string_buffer(self._library.tally_bins(handle) * _BIN.size)
        self._library.tally_take(handle, slots, bins)
        sums: list[Sum] = []
        spreads: list[dict[int, int]] = []
        for minute_ms, item, stream, cost_low, cost_high, *numbers in _SLOT.iter_unpack(slots):
            name, currency = self._items[item]
            units = cost_high << 64 | cost_low if cost_high else cost_low
            tally = Tally(numbers, {currency: EXACT.multiply(Decimal(units), _UNIT)})
            spreads += (tally.bins, tally.ttft_bins)
            sums.append((minute_ms, Series(name.provider, name.model, _STREAMS[stream]), tally))
        for slot, which, number, count in _BIN.iter_unpack(bins):
            spreads[2 * slot + which][number] = count
        return sums
