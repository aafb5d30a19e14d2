"""Rows of the table of metered calls as bytes: what stands in the changelog and, byte for byte, in RocksDB.

h  hour        h + start (8 bytes, big endian) + MessagePack [org, agent, consumer, currency]     HourCalls
i  ids         i + offset (8 bytes, big endian)                                                   as in `store/ids.py`
k  account     k + MessagePack [org, agent, consumer, currency]                                   AccountRow
p  position    p                                                                                  StoredPosition
s  settlement  s + settlement id                                                                  the event's JSON

An hour's row is there while the hour is open. Calls are
[first offset, last offset, payment, [[method, calls, cost], …]]; without any the payment is null. An account's row ends
with what is carried into its next settlement and what was carried because of which one, if anything was.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from streamapp.schemas.values.timestamp import written_ms
from streamapp.schemas.values.ulid import RANDOM_BYTES, event_id
from streamapp.store import rows
from streamapp.store.rows import Store, unsettled_rows
from streamapp.store.table import Table
from tables.calls.settlement import Account, AccountRow, Calls, CallsKey, HourCalls, Methods, MethodSum, Payment
from tables.window import HOUR_MS

_INT = struct.Struct(">q")
_FALSE = 0xC2  # MessagePack
pack = _encode = msgspec.msgpack.Encoder().encode
_Methods = list[tuple[str, int, Decimal]]
_Calls = tuple[int, int, Payment | None, _Methods]
_decode_calls = msgspec.msgpack.Decoder(_Calls).decode


class _Account(msgspec.Struct, array_like=True):
    is_settled: bool
    from_ms: int
    since_ms: int
    settlements: int
    settled_until_ms: int
    pending: _Calls
    settled: _Methods
    carried: _Methods = []
    corrected: list[tuple[int, _Methods]] = []


_decode_row = msgspec.msgpack.Decoder(_Account).decode
_decode_account = msgspec.msgpack.Decoder(Account).decode


def hour_key(key: CallsKey) -> bytes:
    """Key of an open hour's row."""
    return b"h" + _INT.pack(key.start_ms) + _encode(key.account)


def pack_hour(row: HourCalls) -> bytes:
    """Value of an open hour's row."""
    return _encode(_packed(row))


def unpack_hour(key: bytes, value: bytes) -> HourCalls:
    row = HourCalls(CallsKey(_INT.unpack(key[1:9])[0], _decode_account(key[9:])))
    _unpack(_decode_calls(value), row)
    return row


def account_key(account: Account) -> bytes:
    """Key of an account's row."""
    return b"k" + _encode(account)


def pack_account(row: AccountRow) -> bytes:
    """Value of an account's row. It begins with whether nothing is pending."""
    numbers = (row.from_ms, row.since_ms, row.settlements, row.settled_until_ms)
    packed = not row.owes, *numbers, _packed(row.pending), _methods(row.settled)
    if not (row.carried or row.corrected):
        return _encode(packed)
    corrected = [(end_ms, _methods(methods)) for end_ms, methods in sorted(row.corrected.items())]
    return _encode((*packed, _methods(row.carried), corrected))


def unpack_account(key: bytes, value: bytes) -> AccountRow:
    row = AccountRow(_decode_account(key[1:]))
    packed = _decode_row(value)
    row.from_ms, row.since_ms, row.settlements = packed.from_ms, packed.since_ms, packed.settlements
    row.settled_until_ms, row.settled = packed.settled_until_ms, _methods_of(packed.settled)
    _unpack(packed.pending, row.pending)
    row.carried = _methods_of(packed.carried)
    row.corrected = {end_ms: _methods_of(methods) for end_ms, methods in packed.corrected}
    return row


def settlement_key(settlement_id: str) -> bytes:
    """Key of a settlement."""
    return b"s" + settlement_id.encode()


def settled_prefix(period_end_ms: int) -> bytes:
    """Every settlement of a period that ends at or after `period_end_ms` sorts at or behind this."""
    return settlement_key(event_id(period_end_ms, bytes(RANDOM_BYTES)))


def is_unsettled(key: bytes, value: bytes) -> bool | None:
    """An account that owes. Hours need no index: there are only open ones."""
    return value[1] == _FALSE if key[:1] == b"k" else None


class RpcRows(rows.Overlay):
    """The table's rows, with those that are on their way to the store."""

    def account(self, account: Account) -> AccountRow | None:
        key = account_key(account)
        value = self.get(key)
        return None if value is None else unpack_account(key, value)

    def settled_between(self, after_ms: int, until_ms: int) -> Iterable[tuple[Account, int]]:
        found = self.scan(settled_prefix(after_ms + 1), settled_prefix(until_ms + 1)).values()
        return ((one.account, one.end_ms) for one in map(_unpack_settled, found))


def unsettled(store: Store) -> tuple[list[HourCalls], list[AccountRow]]:
    """The open hours, and the accounts that owe."""
    hours = [unpack_hour(key, value) for key, value in store.scan(b"h", b"i")]
    return hours, [unpack_account(key, value) for key, value in unsettled_rows(store, b"k")]


def accounts_of(store: Store) -> Iterator[AccountRow]:
    """Every account there is."""
    return (unpack_account(key, value) for key, value in store.scan(b"k", b"l"))


def of_agent(store: Store, org: str, agent: str, limit: int) -> Iterator[AccountRow]:
    """The first accounts of an org's agent, in the order of their keys."""
    prefix = account_key(Account(org, agent, "", ""))[:-2]  # without the two empty names
    found = store.scan(prefix, prefix[:-1] + bytes([prefix[-1] + 1]))
    return (unpack_account(key, value) for key, value in islice(found, limit))


def readable(key: bytes, value: bytes) -> tuple[tuple[Any, ...], Any]:
    """A row as a person or a JSON document shows it: key parts, value."""
    kind = key[:1]
    if kind == b"h":
        row = unpack_hour(key, value)
        return ("hour", row.key.start_ms, *row.key.account), _shown(row)
    if kind == b"k":
        account = unpack_account(key, value)
        facts = {
            "pending": _shown(account.pending),
            "from_ms": account.from_ms,
            "settled": _readable(account.settled),
            "settlements": account.settlements,
            "settled_until_ms": account.settled_until_ms,
            "since_ms": account.since_ms,
            "carried": _readable(account.carried),
            "last_offset": max(account.pending.last_offset, -1),
        }
        return ("account", *account.account), facts
    return ("settlement", key[1:].decode()), msgspec.json.decode(value)


def readable_key(parts: tuple[Any, ...]) -> bytes:
    """The row key whose readable parts these are. Raises ValueError for anything else."""
    match parts:
        case ("hour", int(start_ms), str(org), str(agent), str(consumer), str(currency)):
            return hour_key(CallsKey(start_ms, Account(org, agent, consumer, currency)))
        case ("account", str(org), str(agent), str(consumer), str(currency)):
            return account_key(Account(org, agent, consumer, currency))
        case ("settlement", str(settlement_id)):
            return settlement_key(settlement_id)
    raise ValueError(f"{parts!r} is not the key of a row")


def agent_of(key: bytes, value: bytes) -> str:
    """Whose row it is: calls have the agent as their record key."""
    kind = key[:1]
    if kind == b"s":
        return _unpack_settled(value).data.agent
    return _decode_account(key[9:] if kind == b"h" else key[1:]).agent


def moved(key: bytes, value: bytes) -> bytes:
    """The row on another partition, where every further call is newer than those that it brings along."""
    if key[:1] == b"h":
        hour = unpack_hour(key, value)
        hour.leave()
        return pack_hour(hour)
    if key[:1] == b"k":
        account = unpack_account(key, value)
        account.pending.leave()
        return pack_account(account)
    return value


RPC = Table(
    "rpc_hourly", b"hikps", readable, readable_key, is_unsettled, home=agent_of, moved=moved, windows={"hour": HOUR_MS}
)


def _methods(methods: Methods) -> list[tuple[str, int, Decimal]]:
    # Sorted: the order in which methods were met depends on how the log was cut.
    return sorted((name, sums.calls, sums.cost) for name, sums in methods.items())


def _methods_of(packed: _Methods) -> Methods:
    return {method: MethodSum(calls, cost) for method, calls, cost in packed}


def _packed(calls: Calls) -> tuple[Any, ...]:
    return calls.first_offset, calls.last_offset, calls.payment, _methods(calls.methods)


def _unpack(packed: _Calls, calls: Calls) -> None:
    calls.first_offset, calls.last_offset, calls.payment, methods = packed
    calls.methods = _methods_of(methods)


def _readable(methods: Methods) -> dict[str, Any]:
    return {name: {"calls": calls, "cost": cost} for name, calls, cost in _methods(methods)}


def _shown(calls: Calls) -> dict[str, Any]:
    payment = None if calls.payment is None else calls.payment._asdict()
    return {
        "first_offset": max(calls.first_offset, -1),
        "last_offset": max(calls.last_offset, -1),
        "payment": payment,
        "methods": _readable(calls.methods),
    }


class MethodStated(msgspec.Struct):
    """What a settlement states of a method."""

    count: int
    cost: Decimal


class _Coverage(msgspec.Struct):
    partition: int
    first_offset: int
    last_offset: int


class _Whose(msgspec.Struct):
    agent: str
    consumer: str
    currency: str
    period_end: str


class _Data(_Whose):
    amount: Decimal
    period_start: str
    methods: dict[str, MethodStated]
    coverage: _Coverage
    carried: dict[str, MethodStated] = {}


class _Settled(msgspec.Struct):
    """Whose a settlement is, and when its period ended: all that is read of one that expires."""

    org_id: str
    data: _Whose

    @property
    def account(self) -> Account:
        """Whose it is."""
        return Account(self.org_id, self.data.agent, self.data.consumer, self.data.currency)

    @property
    def end_ms(self) -> int:
        """End of its period."""
        return written_ms(self.data.period_end)


class StoredSettlement(_Settled):
    """A settlement as its row keeps it, as far as anybody here asks."""

    data: _Data


_unpack_settled = msgspec.json.Decoder(_Settled).decode
unpack_settlement = msgspec.json.Decoder(StoredSettlement).decode
