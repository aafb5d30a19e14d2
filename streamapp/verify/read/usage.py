"""How a check reads a usage record, and which reasons for a refusal can be true."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import (
    FUTURE_MS,
    ZERO,
    Poison,
    Wrong,
    must,
    parse,
    read_event,
    text,
    time_ms,
    whole,
)
from streamapp.verify.read.totals import Totals

TYPE = "llm.usage.completed"
TWELFTH = Decimal("1E-12")
TO_TWELVE = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
DEPTH_SURE = 20  # with more brackets than this, decoders may disagree whether it is JSON
_DISPUTED = re.compile(r"\\u[dD][89a-fA-F]|\d{300}|[eE][+-]?\d{3}")  # half surrogates, numbers out of range: likewise


class Usage(NamedTuple):
    """One valid usage event, as far as bills depend on it."""

    id: str
    time_ms: int
    team: str
    org: str | None
    currency: str
    provider: str
    model: str
    counted: Totals  # of this event alone


def read(record: Record) -> Usage | Poison:
    """What the record says, or why it cannot be billed. Never raises."""
    return read_event(record, TYPE, "team", _usage)


def _usage(event: dict[str, Any], data: dict[str, Any]) -> Usage:
    at_ms = time_ms(event.get("timestamp"))
    prompt, completion, total = (count(data, f"{part}_tokens") for part in ("prompt", "completion", "total"))
    must(total >= prompt + completion, "total_tokens is less than prompt_tokens + completion_tokens")
    status = "success" if data.get("status") is None else data["status"]
    must(isinstance(status, str) and len(status) <= 64, "status is not a text of at most 64 characters")
    hit, org = data.get("cache_hit") or False, event.get("org_id")
    must(isinstance(hit, bool), "cache_hit is not true or false")
    must(org is None or isinstance(org, str), "org_id is not a string")
    currency = "USD" if data.get("currency") is None else text(data, "currency")
    names = text(event, "team_id"), org or None, currency, text(data, "provider"), text(data, "model")
    counted = Totals(1, int(status != "success"), int(hit), prompt, completion, total, cost(data))
    return Usage(event["id"], at_ms, *names, counted)


def count(data: dict[str, Any], name: str) -> int:
    """A field that must be a number of things. Raises `Wrong`."""
    found = whole(data.get(name))
    if found is None:
        raise Wrong(f"{name} is not a whole number of at least 0")
    return found


def cost(data: dict[str, Any]) -> Decimal:
    """`cost_usd` as it is billed. Raises `Wrong`."""
    value = data.get("cost_usd")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Wrong("cost_usd is not a number")
    billed = _billed(Decimal(value))
    if billed is None:
        raise Wrong("cost_usd is negative or has more than 18 integer digits")
    return billed


def _billed(cost: Decimal) -> Decimal | None:
    """The cost as it is billed, rounded half to even at the 12th decimal (decision 5). None: out of range."""
    if cost.is_zero():
        return ZERO
    if not 0 < cost < 10**18:
        return None
    billed = TO_TWELVE.quantize(cost, TWELFTH)
    return billed if billed < 10**18 else None


def _not_json(record: Record, event: dict[str, Any] | Poison) -> bool:
    if isinstance(event, Poison):
        return True
    said = (record.value or b"").decode()
    if "NaN" in said or "Infinity" in said:
        return True
    return _DISPUTED.search(said) is not None or max(said.count("{"), said.count("[")) > DEPTH_SURE


def _bad_cost(record: Record, event: dict[str, Any] | Poison) -> bool:
    if isinstance(event, Poison):
        return b"NaN" in (record.value or b"") or b"Infinity" in (record.value or b"")
    return _breaks(cost, event)


def _bad_total(_: Record, event: dict[str, Any] | Poison) -> bool:
    data = {} if isinstance(event, Poison) else event.get("data")
    if not isinstance(data, dict):
        return False
    prompt, completion, total = (whole(data.get(f"{part}_tokens")) for part in ("prompt", "completion", "total"))
    return prompt is not None and completion is not None and total is not None and total < prompt + completion


def _in_future(record: Record, event: dict[str, Any] | Poison) -> bool:
    try:
        return not isinstance(event, Poison) and time_ms(event.get("timestamp")) > record.timestamp_ms + FUTURE_MS
    except ValueError:
        return False


def _breaks(rule: Callable[[dict[str, Any]], object], event: dict[str, Any]) -> bool:
    data = event.get("data")
    try:
        rule(data if isinstance(data, dict) else {})
    except Wrong:
        return True
    return False


_PLAUSIBLE: dict[str, Callable[[Record, dict[str, Any] | Poison], bool]] = {
    "empty_value": lambda record, _: not record.value,
    "malformed_json": _not_json,
    "framed_json": lambda record, _: (record.value or b"")[:1] == b"\0",
    "invalid_cost": _bad_cost,
    "tokens_mismatch": _bad_total,
    "timestamp_in_future": _in_future,
    "record_timestamp_missing": lambda record, _: record.timestamp_ms in (-1, 0),
    "unknown_type": lambda _, event: isinstance(event, Poison) or event.get("type") != TYPE,
    "org_unresolved": lambda _, event: isinstance(event, Poison) or not event.get("org_id"),
}


def plausible(reason: str, record: Record) -> bool:
    """Whether the record can have been refused for `reason`. Reasons that are not simple to check are accepted."""
    check = _PLAUSIBLE.get(reason)
    return check is None or check(record, parse(record.value))
