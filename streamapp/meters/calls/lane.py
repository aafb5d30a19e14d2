"""The calls of open hours of one partition, and the compiled fast path that counts most of them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from decimal import Decimal

from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import Added
from streamapp.lane.walk import Walk, done
from streamapp.meters.calls import rpc_codec
from tables.calls.settlement import CallsKey, HourCalls, Payment
from tables.counters import EXACT
from tables.usage.hourly import EVERY

_LENGTHS = struct.Struct("<2I")
_LOW = (1 << 64) - 1
_UNITS = Decimal("1E12")


class CompiledCalls(Walk):
    """`tables.calls.open_calls.OpenCalls` in C. Plain calls are counted with the ids of `seen`; `partition` of
    `partitions` is where its agents are at home; `names_max` methods of a row are told apart."""

    def __init__(
        self, seen: CompactSeen, partition: int, partitions: int, future_ms: int, names_max: int = EVERY
    ) -> None:
        super().__init__("calls_new", seen, partition, partitions, future_ms, names_max)
        self._open: list[int] = []

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        super().open(hour_ms, expiry_ms, is_new)
        self._open.append(hour_ms)

    def admit(self, row: HourCalls) -> None:
        assert row.payment is not None, "a row has calls"
        for method, sums in row.methods.items():
            self._add(
                row.key, method, sums.calls, sums.cost, row.first_offset, row.last_offset, row.payment, stored=True
            )

    def add(self, key: CallsKey, method: str, cost: Decimal, offset: int, payment: Payment) -> None:
        self._add(key, method, 1, cost, offset, offset, payment, stored=False)

    def close(self, hour_ms: int) -> Iterator[HourCalls]:
        packed = self._of(hour_ms)
        self.close_hour(hour_ms)
        self._open.remove(hour_ms)
        return (rpc_codec.unpack_hour(key, value) for key, value in packed)

    def changed(self) -> dict[bytes, bytes]:
        start = ctypes.c_void_p()
        length = done(self._library.calls_changed(self._handle, ctypes.byref(start)))
        return dict(_split(start, length))

    def rows(self) -> Iterator[HourCalls]:
        return (rpc_codec.unpack_hour(key, value) for hour_ms in self._open for key, value in self._of(hour_ms))

    def others(self) -> int:
        count: int = self._library.calls_others(self._handle)
        return count

    def __len__(self) -> int:
        count: int = self._library.calls_rows(self._handle)
        return count

    def _add(
        self,
        key: CallsKey,
        method: str,
        calls: int,
        cost: Decimal,
        first_offset: int,
        last_offset: int,
        payment: Payment,
        *,
        stored: bool,
    ) -> None:
        account, name, paid = rpc_codec.pack(key.account), method.encode(), rpc_codec.pack(payment)
        units = int(EXACT.multiply(cost, _UNITS))
        lengths = (len(account), len(name), len(paid))
        low, high = units & _LOW, units >> 64
        added = Added(key.start_ms, account, name, paid, *lengths, calls, low, high, first_offset, last_offset)
        if done(self._library.calls_add(self._handle, ctypes.byref(added), stored)) < 0:
            raise OverflowError(f"the calls of {key} cost more than can be added up")

    def _of(self, hour_ms: int) -> list[tuple[bytes, bytes]]:
        start = ctypes.c_void_p()
        length = done(self._library.calls_of(self._handle, hour_ms, ctypes.byref(start)))
        return list(_split(start, length))


def _split(start: ctypes.c_void_p, length: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of rows that lie back to back behind their lengths."""
    packed = ctypes.string_at(start, length) if length else b""
    at, lengths = 0, _LENGTHS.unpack_from
    while at < length:
        key_length, value_length = lengths(packed, at)
        key_at = at + _LENGTHS.size
        value_at = key_at + key_length
        at = value_at + value_length
        yield packed[key_at:value_at], packed[value_at:at]
