"""What the fast path's reader makes of a metered call, as Python sees it."""

from __future__ import annotations

import ctypes
from decimal import Decimal
from typing import NamedTuple, Self

from plain_event import money, read

from streamapp.lane.library import library
from streamapp.schemas.judging.metering import Metering


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
    """The call that the lane takes; None for what it leaves to Python."""
    found = read("RPC_METERED", raw)
    amount = (ctypes.c_uint64 * 4)()
    at = (ctypes.addressof(amount) + 15) & ~15  # it is aligned to 16 bytes
    if found is None or found[0].org_id.text() is None:
        return None
    envelope, data, event = found
    if not library()["calls_amount"](ctypes.byref(event), ctypes.c_void_p(at)):
        return None
    return PlainCall(
        id=envelope.id.text(),
        org=envelope.org_id.text(),
        agent=data.agent_id.text(),
        consumer=data.consumer_id.text(),
        method=data.method.text(),
        currency=data.currency.text(),
        chain=data.chain.text(),
        agent_wallet=data.agent_wallet.text(),
        consumer_wallet=data.consumer_wallet.text(),
        at_ms=envelope.timestamp,
        chain_id=data.chain_id,
        amount=money(*(ctypes.c_uint64 * 2).from_address(at)),
    )
