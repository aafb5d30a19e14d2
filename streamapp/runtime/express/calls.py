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
PAYMENTS_MAX = 10_000


class CompiledCalls:
    """Counts plain calls with the ids of `seen`; `partition` of `partitions` is where its agents are at home."""

    def __init__(self, seen: CompactSeen, partition: int, partitions: int, future_ms: int) -> None:
        self._library = library()
        self._seen = seen  # its memory is used as long as this lives
        self._handle = self._library.calls_new(seen.handle, partition, partitions, future_ms)
        if not self._handle:
            raise MemoryError("no memory for the express lane")
        weakref.finalize(self, self._library.calls_free, self._handle)
        self._lines: dict[int, list[Line]] = {}  # hour → its lines, by number
        self._payments: dict[tuple[str, ...], Payment] = {}  # there are few
        self._records = Records()  # the chunk that is counted

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        done(self._library.calls_open(self._handle, hour_ms, expiry_ms // HOUR_MS))
        self._lines[hour_ms] = []

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
            if number >= len(lines):
                lines += [line_of(hour_ms, *key) for key in self._keys(hour_ms, len(lines))]
            units = cost_high << 64 | cost_low if cost_high else cost_low
            yield lines[number], calls, multiply(Decimal(units), _UNIT), first_offset, last_offset

    def _keys(self, hour_ms: int, start: int) -> Iterator[tuple[Account, str, Payment]]:
        """What the hour's lines from a number on are."""
        keys = ctypes.create_string_buffer(self._library.calls_keys(self._handle, hour_ms, start, None))
        self._library.calls_keys(self._handle, hour_ms, start, keys)
        raw, at = keys.raw, 0
        while at < len(raw):
            end = at + 2 + (raw[at] | raw[at + 1] << 8)
            org, agent, consumer, currency, method, *paid = raw[at + 2 : end].decode().split("\0")
            yield Account(org, agent, consumer, currency), method, self._payment(tuple(paid))
            at = end

    def _payment(self, paid: tuple[str, ...]) -> Payment:
        found = self._payments.get(paid)
        if found is None:
            if len(self._payments) >= PAYMENTS_MAX:
                self._payments.clear()
            chain, chain_id, *wallets = paid
            stated = (wallet[1:] if wallet[0] == "+" else None for wallet in wallets)
            found = self._payments[paid] = Payment(chain, int(chain_id), *stated)
        return found
