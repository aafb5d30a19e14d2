"""How the independent check reads a metered call: the rules of decision 15 in their simplest form.

Nothing here is shared with the worker; see `verify_usage` for what is lax and strict in such a reading.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.usage import EXACT, FUTURE_MS, HOUR_MS, ZERO, Poison, parse, time_ms

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PRICE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
BY_ITSELF = frozenset({"empty_value", "malformed_json", "invalid_envelope", "unknown_type"})
"""Reasons that a record that can be read never has; `invalid_price` is another, but for spellings. The models look at
more fields than settlements depend on: of `invalid_data` their word is taken."""


class Call(NamedTuple):
    """One valid call, as far as settlements depend on it."""

    id: str
    time_ms: int
    team: str | None
    org: str | None
    agent: str
    consumer: str
    currency: str
    method: str
    cost: Decimal  # zero where nothing is charged

    @property
    def hour_ms(self) -> int:
        """Start of its hour."""
        return self.time_ms - self.time_ms % HOUR_MS


def read(record: Record) -> Call | Poison:
    """What the record says, or why it cannot be settled. Never raises."""
    if not record.value:
        return Poison("the record has no value")
    event = parse(record.value)
    if isinstance(event, Poison):
        return event
    try:
        call = _call(event)
    except (ValueError, ArithmeticError) as error:
        return Poison(str(error))
    if record.key != call.agent.encode("utf-8", "surrogatepass"):
        return Poison("the record key is not the agent_id")
    if record.timestamp_ms in (-1, 0):
        return Poison("the record has no timestamp")
    if call.time_ms > record.timestamp_ms + FUTURE_MS:
        return Poison("the timestamp is more than 5 minutes ahead of the record")
    return call


def _call(event: dict[str, Any]) -> Call:
    data = event.get("data")
    if event.get("schema") != "hanzo.stream.v1" or event.get("type") != "agent.rpc.metered":
        raise ValueError("it is no agent.rpc.metered of hanzo.stream.v1")
    if not isinstance(event.get("id"), str) or _ID.fullmatch(event["id"]) is None:
        raise ValueError("id is not usable")
    if not isinstance(data, dict):
        raise ValueError("data is not an object")
    status, free = data.get("status") or "success", data.get("free_tier") or False
    if status not in ("success", "error") or not isinstance(free, bool):
        raise ValueError("status or free_tier is not usable")
    return Call(
        event["id"],
        time_ms(event.get("timestamp")),
        _optional(event, "team_id"),
        _optional(event, "org_id"),
        _name(data, "agent_id"),
        _name(data, "consumer_id"),
        _name(data, "currency"),
        _name(data, "method"),
        _cost(data) if status == "success" and not free else ZERO,
    )


def _name(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing or not a string")
    return value


def _optional(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _name(fields, name)


def _cost(data: dict[str, Any]) -> Decimal:
    price, quantity = data.get("price"), data.get("quantity")
    if not isinstance(price, str) or _PRICE.fullmatch(price) is None:
        raise ValueError("price is not a decimal text")
    if isinstance(quantity, Decimal) and quantity == quantity.to_integral_value():
        quantity = int(quantity)
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        raise ValueError("quantity is not a whole number of at least 0")
    if Decimal(price) < 0:
        raise ValueError("price is negative")
    cost = EXACT.abs(EXACT.multiply(Decimal(price), Decimal(quantity)))
    exponent = EXACT.normalize(cost).as_tuple().exponent
    if cost >= 10**18 or not isinstance(exponent, int) or exponent < -12:
        raise ValueError("the amount has too many digits")
    return cost
