"""How a check reads a metered call: the rules of decision 15 in their simplest form."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import EXACT, ZERO, Poison, Wrong, must, read_event, text, time_ms

TYPE = "agent.rpc.metered"
_PRICE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)


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


def read(record: Record) -> Call | Poison:
    """What the record says, or why it cannot be settled. Never raises."""
    return read_event(record, TYPE, "agent", _call)


def _call(event: dict[str, Any], data: dict[str, Any]) -> Call:
    status, free = data.get("status") or "success", data.get("free_tier") or False
    must(status in ("success", "error") and isinstance(free, bool), "status or free_tier is not usable")
    team, org = (None if event.get(name) is None else text(event, name) for name in ("team_id", "org_id"))
    agent, consumer, currency, method = (text(data, name) for name in ("agent_id", "consumer_id", "currency", "method"))
    cost = _cost(data) if status == "success" and not free else ZERO
    return Call(event["id"], time_ms(event.get("timestamp")), team, org, agent, consumer, currency, method, cost)


def _cost(data: dict[str, Any]) -> Decimal:
    price, quantity = data.get("price"), data.get("quantity")
    if not isinstance(price, str) or _PRICE.fullmatch(price) is None:
        raise Wrong("price is not a decimal text")
    if isinstance(quantity, Decimal) and quantity == quantity.to_integral_value():
        quantity = int(quantity)
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        raise Wrong("quantity is not a whole number of at least 0")
    must(Decimal(price) >= 0, "price is negative")
    cost = EXACT.abs(EXACT.multiply(Decimal(price), Decimal(quantity)))
    exponent = EXACT.normalize(cost).as_tuple().exponent
    must(cost < 10**18 and isinstance(exponent, int) and exponent >= -12, "the amount has too many digits")
    return cost
