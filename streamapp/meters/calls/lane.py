"""The calls of open hours of one partition, and the compiled fast path that counts most of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from decimal import Decimal

from streamapp.lane.library import Added
from streamapp.lane.walk import KeptRows, done, units
from streamapp.meters.calls import rpc_codec
from tables.calls.settlement import CallsKey, HourCalls, Payment


class CompiledCalls(KeptRows):
    """`tables.calls.open_calls.OpenCalls` in C. Plain calls are counted with the ids of `seen`; `partition` of
    `partitions` is where its agents are at home; `names_max` methods of a row are told apart."""

    NEW = "calls_new"

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
        return (rpc_codec.unpack_hour(key, value) for key, value in packed)

    def rows(self) -> Iterator[HourCalls]:
        return (rpc_codec.unpack_hour(key, value) for key, value in self.stored_rows())

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
        lengths = (len(account), len(name), len(paid))
        added = Added(key.start_ms, account, name, paid, *lengths, calls, *units(cost), first_offset, last_offset)
        if done(self._library.calls_add(self._handle, ctypes.byref(added), stored)) < 0:
            raise OverflowError(f"the calls of {key} cost more than can be added up")
