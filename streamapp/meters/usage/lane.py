"""The open hours of one partition of usage, and the compiled fast path that counts most of them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from decimal import Decimal

from streamapp.lane.library import Period, Used, Wide
from streamapp.lane.walk import UNIT, KeptRows, done, halves, taken, units
from streamapp.lane.walk import amount as amount_of
from streamapp.meters.usage import codec
from streamapp.schemas.billing import BILLING_HOURLY
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import id_head
from tables.counters import EXACT, Counters, Numbers
from tables.usage.hourly import HourKey, Names, UsageRow, Written
from tables.window import HOUR_MS

_CLOSED = struct.Struct("<4I6q8Q")  # `closed_t`
_COST = struct.Struct("<3Q")  # `cost_t`
_NO_BUDGET = -1


class CompiledHours(KeptRows):
    """`tables.usage.open_hours.OpenHours` in C. Plain records are counted with the ids of `seen`; `partition` of
    `partitions` is where their teams are at home; `names_max` lines of a row are told apart."""

    NEW = "usage_new"

    def admit(self, row: UsageRow) -> None:
        for names, line in row.lines.items():
            self._add(row.key, names, line.numbers(), row.first_offset, row.last_offset, stored=True)

    def find(self, key: HourKey) -> UsageRow | None:
        account = codec.pack(key[1:])
        known = self._library.rows_known(self._handle, key.start_ms, account, len(account))
        return UsageRow(key) if known else None

    def add(self, key: HourKey, names: Names, numbers: Numbers, offset: int) -> None:
        self._add(key, names, numbers, offset, offset, stored=False)

    def close(self, hour_ms: int) -> list[UsageRow]:
        start, following, period = ctypes.c_void_p(), ctypes.c_int64(), _period(hour_ms)
        told = ctypes.byref(period), ctypes.byref(following), ctypes.byref(start)
        rows: list[UsageRow] = []
        while packed := taken(start, done(self._library.bill_closed(self._handle, hour_ms, *told))):
            rows += _closed(packed, hour_ms)
        self.close_hour(hour_ms)
        return rows

    def rounded(self) -> int:
        count: int = self._library.rows_rounded(self._handle)
        return count

    def cost(self, key: HourKey) -> Decimal:
        account, cost = codec.pack(key[1:]), Wide()
        self._library.usage_cost(self._handle, key.start_ms, account, len(account), cost)
        return amount_of(*cost)

    def costs(self) -> Iterator[tuple[HourKey, Decimal]]:
        for hour_ms in self.hours:
            start = ctypes.c_void_p()
            packed = taken(start, done(self._library.usage_costs(self._handle, hour_ms, ctypes.byref(start))))
            at = 0
            while at < len(packed):
                low, high, length = _COST.unpack_from(packed, at)
                account_at = at + _COST.size
                at = account_at + length
                yield HourKey(hour_ms, *codec.unpack(packed[account_at:at])), amount_of(low, high)

    # -- budgets -------------------------------------------------------------------------------------------------

    def limit(self, is_limited: bool) -> None:
        self._library.usage_limited(self._handle, is_limited)

    def bind(self, key: HourKey, budget: int | None) -> None:
        account, number = codec.pack(key[1:]), _NO_BUDGET if budget is None else budget
        done(self._library.usage_bind(self._handle, key.start_ms, account, len(account), number))

    def left(self, budget: int, amount: Decimal) -> None:
        done(self._library.usage_left(self._handle, budget, *units(amount)))

    def spend(self, budget: int, cost: Decimal) -> bool:
        return bool(self._library.usage_spend(self._handle, budget, *units(cost)))

    # -- counting ------------------------------------------------------------------------------------------------

    def _add(
        self, key: HourKey, names: Names, numbers: Numbers, first_offset: int, last_offset: int, *, stored: bool
    ) -> None:
        requests, errors, cache_hits, prompt_tokens, completion_tokens, cost, other_tokens, rounded = numbers
        account, named = codec.pack(key[1:]), codec.pack_names(names)
        used = Used(
            key.start_ms,
            account,
            named,
            len(account),
            len(named),
            requests,
            errors,
            cache_hits,
            rounded,
            halves(prompt_tokens),
            halves(completion_tokens),
            halves(other_tokens),
            units(cost),
            first_offset,
            last_offset,
        )
        if done(self._library.usage_add(self._handle, ctypes.byref(used), stored)) < 0:
            raise OverflowError(f"the usage of {key} costs more than can be added up")


def _period(hour_ms: int) -> Period:
    end_ms = hour_ms + HOUR_MS
    texts = (BILLING_HOURLY, format_ms(hour_ms), format_ms(end_ms), id_head(end_ms))
    return Period(*(text.encode() for text in texts))


def _closed(packed: bytes, hour_ms: int) -> Iterator[UsageRow]:
    """Rows of an hour with what a bill needs of them."""
    at, size, head, multiply, read = 0, _CLOSED.size, _CLOSED.unpack_from, EXACT.multiply, codec.unpack_lines
    account_at = size + len(codec.hour_prefix(hour_ms))
    while at < len(packed):
        (
            key_length, value_length, id_length, bill_length,
            first_offset, last_offset, requests, errors, cache_hits, rounded,
            prompt, prompt_high, completion, completion_high, other, other_high, cost_units, units_high,
        ) = head(packed, at)  # fmt: skip
        if prompt_high | completion_high | other_high | units_high:
            prompt, completion = prompt_high << 64 | prompt, completion_high << 64 | completion
            other, cost_units = other_high << 64 | other, units_high << 64 | cost_units
        value_at = at + size + key_length
        id_at = value_at + value_length
        bill_at = id_at + id_length
        key, value, bill_id = packed[at + size : value_at], packed[value_at:id_at], packed[id_at:bill_at].decode()
        row = UsageRow(HourKey(hour_ms, *codec.unpack(packed[at + account_at : value_at])))
        row.first_offset, row.last_offset = first_offset, last_offset
        cost = multiply(Decimal(cost_units), UNIT)
        totals = Counters(requests, errors, cache_hits, prompt, completion, cost, other, rounded)
        at = bill_at + bill_length
        row.write(Written(read, totals, key, value, bill_id, packed[bill_at:at]))
        yield row
