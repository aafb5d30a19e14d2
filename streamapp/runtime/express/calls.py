"""The compiled express lane of one partition of metered calls."""

from __future__ import annotations

import ctypes
import struct
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from streamapp.runtime.express.ids import CompactSeen
from streamapp.runtime.express.lane import done, one_stretch
from streamapp.runtime.express.library import Run, library
from streamapp.runtime.records import Records
from tables.counters import EXACT
from tables.rpc_hourly import CallSum, FindLine, Line
from tables.settlement import Account, Payment
from tables.window import HOUR_MS

_SUM = struct.Struct("<3q2Q2q")  # `call_sum_t`
_UNIT = Decimal("1E-12")


class CompiledCalls:
    """Counts plain calls with the ids of `seen`; `partition` of `partitions` is where its agents are at home."""

    def __init__(self, seen: CompactSeen, partition: int, partitions: int, future_ms: int) -> None:
        self._library = library()
        self._seen = seen  # its memory is used as long as this lives
        self._handle = self._library.calls_new(seen.handle, partition, partitions, future_ms)
        if not self._handle:
            raise MemoryError("no memory for the express lane")
        weakref.finalize(self, self._library.calls_free, self._handle)
        self._lines: dict[int, dict[int, Line]] = {}  # hour → its lines, by number
        self._records = Records()  # the chunk that is counted

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        done(self._library.calls_open(self._handle, hour_ms, expiry_ms // HOUR_MS))
        self._lines[hour_ms] = {}

    def close(self, hour_ms: int) -> None:
        self._library.calls_close(self._handle, hour_ms)
        del self._lines[hour_ms]

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
            reached = self._library.calls_run(self._handle, payload.data, payload.parts, at + shift, stop, told)
            at = done(reached) - shift
            if at < end:
                break
        return at, state.watermark_ms, state.duplicates

    def take(self, line_of: FindLine) -> Iterator[CallSum]:
        count = self._library.calls_touched(self._handle)
        sums = ctypes.create_string_buffer(count * _SUM.size)
        self._library.calls_take(self._handle, sums)
        multiply, known = EXACT.multiply, self._lines
        for hour_ms, number, calls, cost_low, cost_high, first_offset, last_offset in _SUM.iter_unpack(sums):
            lines = known[hour_ms]
            line = lines.get(number)
            if line is None:
                line = lines[number] = line_of(hour_ms, *self._key(hour_ms, number))
            units = cost_high << 64 | cost_low if cost_high else cost_low
            yield line, calls, multiply(Decimal(units), _UNIT), first_offset, last_offset

    def _key(self, hour_ms: int, number: int) -> tuple[Account, str, Payment]:
        start = ctypes.c_void_p()
        length = self._library.calls_key(self._handle, hour_ms, number, ctypes.byref(start))
        text = ctypes.string_at(start, length).decode()
        org, agent, consumer, currency, method, chain, chain_id, *wallets = text.split("\0")
        payment = Payment(chain, int(chain_id), *(wallet[1:] if wallet[0] == "+" else None for wallet in wallets))
        return Account(org, agent, consumer, currency), method, payment
