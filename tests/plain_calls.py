"""What the fast path's reader makes of a metered call, as Python sees it."""

from __future__ import annotations

import ctypes
from decimal import Decimal
from typing import Any, NamedTuple, Self

from plain_usage import Span

from streamapp.lane.library import library
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.values.money import EXACT

NAMES = ("id", "org", "agent", "consumer", "method", "currency", "chain", "agent_wallet", "consumer_wallet")


class _Call(ctypes.Structure):
    """`call_t`; the amount is aligned to 16 bytes."""

    _fields_ = (
        *((name, Span) for name in NAMES),
        *((name, ctypes.c_int64) for name in ("at_ms", "chain_id")),
        *((name, ctypes.c_uint64) for name in ("amount_low", "amount_high")),
    )


class PlainCall(NamedTuple):
    """What counts of a call."""

    id: str
    org: str | None
    agent: str
    consumer: str
    method: str
    currency: str
    chain: str
    agent_wallet: str | None
    consumer_wallet: str | None
    at_ms: int
    chain_id: int
    amount: Decimal

    @classmethod
    def of(cls, call: Metering) -> Self:
        data = call.data
        return cls(
            call.id,
            call.org_id,
            data.agent_id,
            data.consumer_id,
            data.method,
            data.currency,
            data.chain,
            data.agent_wallet,
            data.consumer_wallet,
            call.at_ms,
            data.chain_id,
            call.amount,
        )


def read_plain_call(raw: bytes) -> PlainCall | None:
    """The call that the reader takes; None for what it leaves to Python."""
    read = library()["call_read"]
    call = _Call()
    held = ctypes.create_string_buffer(raw, len(raw))  # exactly so many bytes: reading beyond them is a fault
    if not read(held, ctypes.c_size_t(len(raw)), ctypes.byref(call)):
        return None
    amount = EXACT.scaleb(Decimal(call.amount_high << 64 | call.amount_low), -12)
    texts: dict[str, Any] = {name: getattr(call, name).text() if getattr(call, name).at else None for name in NAMES}
    return PlainCall(**texts, at_ms=call.at_ms, chain_id=call.chain_id, amount=amount)
