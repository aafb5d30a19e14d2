"""A settlement as its event: the same settlement always becomes the same bytes (decisions 12 and 16)."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.meters.calls import rpc_codec
from streamapp.meters.stated import BYTES_MAX, coverage, envelope
from streamapp.schemas import settlement as schema
from streamapp.schemas.values.money import money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.store.rows import Writes
from tables.calls.settlement import OTHER_METHOD, Account, MethodSum, Settlement

SOURCE = "rpc-billing"
METHODS_MAX = 500
"""So many methods fit, whatever their names and numbers; an older account may have more."""

_Methods = tuple[tuple[str, int, Decimal], ...]
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=10_000)  # a settlement, its row and the pages ask for it one after the other
def settlement_id(account: Account, period_end_ms: int) -> str:
    """The id of an account's settlement: anybody who knows both can compute it."""
    return schema.settlement_id(*account, period_end_ms)


def event(settlement: Settlement, topic: str, partition: int) -> tuple[str, bytes]:
    """Id and JSON of the event that settles calls read from `topic`-`partition`."""
    org, agent, consumer, currency = settlement.account
    made = settlement_id(settlement.account, settlement.end_ms)
    payment, first, last = settlement.payment, settlement.first_offset, settlement.last_offset
    data: dict[str, Any] = {
        "settlement_id": made,
        "agent": agent,
        "consumer": consumer,
        "amount": money_text(settlement.amount),
        "request_count": settlement.calls,
        "period_start": format_ms(settlement.start_ms),
        "period_end": format_ms(settlement.end_ms),
        "currency": currency,
        "chain": payment.chain,
        "chain_id": payment.chain_id,
        "agent_wallet": payment.agent_wallet,
        "consumer_wallet": payment.consumer_wallet,
        "methods": _stated(settlement.methods),
        "coverage": coverage(topic, partition, first, last, settlement.calls),
    }
    if settlement.carried:
        data["carried"] = _stated(settlement.carried)
    stated = envelope(made, schema.RPC_SETTLED, SOURCE, settlement.stated_ms, org, data)
    value = _encode(stated)
    if len(value) > BYTES_MAX:
        data["methods"] = _stated(_fewer(settlement.methods))
        value = _encode(stated)
    return made, value


def _stated(methods: _Methods) -> dict[str, dict[str, Any]]:
    return {method: {"count": calls, "cost": money_text(cost)} for method, calls, cost in methods}


def _fewer(methods: _Methods) -> _Methods:
    """The first methods by name, and all others together."""
    named = [one for one in methods if one[0] != OTHER_METHOD]
    rest = MethodSum()
    for _, calls, cost in (*named[METHODS_MAX:], *(one for one in methods if one[0] == OTHER_METHOD)):
        rest.add(calls, cost)
    return ((OTHER_METHOD, rest.calls, rest.cost), *named[:METHODS_MAX])


def send(settlement: Settlement, place: Place, bills: str) -> tuple[Send, Writes]:
    """The record for topic `bills`, keyed by org, and the table row that keeps what was settled."""
    made, value = event(settlement, place.topic, place.partition)
    key = settlement.account.org.encode()
    return place.record(bills, key, value), {rpc_codec.settlement_key(made): value}
