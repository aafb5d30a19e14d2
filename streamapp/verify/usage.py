"""How the independent check reads a usage record: the rules of the standard in their simplest form.

Nothing here is shared with the worker. Where the worker's models are stricter than these rules (a required field that
money does not depend on), the record stands in `dead_letter`, and the check takes its word. Where the worker would be
laxer, the check calls the record poison and looks for its letter in vain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Additions under this context are exact or raise: 200 digits hold more than 10^150 events of the highest cost."""

HOUR_MS = 3_600_000
FUTURE_MS = 300_000  # further ahead of its broker record than this, an event is refused
ZERO = Decimal(0)
TWELFTH = Decimal("1E-12")
TO_TWELVE = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
DEPTH_SURE = 20  # with more brackets than this, decoders may disagree whether it is JSON

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_DISPUTED = re.compile(
    r"\\u[dD][89a-fA-F]|\d{300}|[eE][+-]?\d{3}"
)  # half surrogates and numbers out of range, likewise
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Usage(NamedTuple):
    """One valid usage event, as far as bills depend on it."""

    id: str
    time_ms: int
    team: str
    org: str | None
    currency: str
    provider: str
    model: str
    error: bool
    cache_hit: bool
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: Decimal


class Poison(NamedTuple):
    """Why a record cannot be billed, in one sentence."""

    error: str


def read(record: Record) -> Usage | Poison:
    """What the record says, or why it cannot be billed. Never raises."""
    if not record.value:
        return Poison("the record has no value")
    event = parse(record.value)
    if isinstance(event, Poison):
        return event
    try:
        usage = _usage(event)
    except _Wrong as wrong:
        return Poison(str(wrong))
    if record.key != usage.team.encode("utf-8", "surrogatepass"):
        return Poison("the record key is not the team_id")
    if record.timestamp_ms in (-1, 0):
        return Poison("the record has no timestamp")
    if usage.time_ms > record.timestamp_ms + FUTURE_MS:
        return Poison("the timestamp is more than 5 minutes ahead of the record")
    return usage


def parse(value: bytes) -> dict[str, Any] | Poison:
    """The JSON object with exact numbers. NaN and Infinity are not JSON, but no reason not to bill what stands beside
    them in a measurement; elsewhere they are texts that no rule takes, or the worker has written a letter."""
    try:
        event = json.loads(value.decode(), parse_float=_fraction, parse_int=_whole, parse_constant=_Constant)
    except (ValueError, RecursionError) as error:
        return Poison(f"not JSON: {error}")
    return event if isinstance(event, dict) else Poison("not a JSON object")


def time_ms(text: object) -> int:
    """RFC 3339 to UTC milliseconds since the epoch; finer fractions are cut; second 60 is the next minute's first
    millisecond. Raises ValueError."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    away_hours, away_minutes = int(match[10] or 0), int(match[11] or 0)
    if hour > 23 or minute > 59 or second > 60 or away_hours > 23 or away_minutes > 59:
        raise ValueError(f"{text!r} is not a time of day")
    days = date(int(match[1]), int(match[2]), int(match[3])).toordinal() - _EPOCH_DAY
    millis = 0 if second == 60 else int(((match[7] or "") + "000")[:3])
    away = away_hours * 60 + away_minutes
    minutes = days * 1440 + hour * 60 + minute - (-away if match[9] == "-" else away)
    return (minutes * 60 + second) * 1000 + millis


class _Wrong(Exception):
    """A field breaks a rule."""


def _usage(event: dict[str, Any]) -> Usage:
    data = event.get("data")
    _must(event.get("schema") == "hanzo.stream.v1", "schema is not hanzo.stream.v1")
    _must(isinstance(event.get("id"), str) and _ID.fullmatch(event["id"]) is not None, "id is not usable")
    _must(event.get("type") == "llm.usage.completed", "type is not llm.usage.completed")
    _must(isinstance(event.get("source"), str), "source is not a string")
    _must(isinstance(data, dict), "data is not an object")
    assert isinstance(data, dict)
    try:
        at_ms = time_ms(event.get("timestamp"))
    except ValueError as error:
        raise _Wrong(str(error)) from None
    prompt, completion, total = (_count(data, f"{part}_tokens") for part in ("prompt", "completion", "total"))
    _must(total >= prompt + completion, "total_tokens is less than prompt_tokens + completion_tokens")
    status = "success" if data.get("status") is None else data["status"]
    _must(isinstance(status, str) and len(status) <= 64, "status is not a text of at most 64 characters")
    hit = data.get("cache_hit") or False
    _must(isinstance(hit, bool), "cache_hit is not true or false")
    org = event.get("org_id")
    _must(org is None or isinstance(org, str), "org_id is not a string")
    return Usage(
        event["id"],
        at_ms,
        _text(event, "team_id"),
        org or None,
        _optional(data, "currency", "USD"),
        _text(data, "provider"),
        _text(data, "model"),
        status != "success",
        hit,
        prompt,
        completion,
        total,
        _cost(data),
    )


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise _Wrong(sentence)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{name} is missing or not a string")
    return value


def _optional(fields: dict[str, Any], name: str, default: str) -> str:
    return default if fields.get(name) is None else _text(fields, name)


def _count(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, Decimal) and 0 <= value < 10**18 and value == int(value):
        value, whole = int(value), True  # 100.0 is a whole number, whatever a decoder thinks of its spelling
    if not whole or value is None or value < 0:
        raise _Wrong(f"{name} is not a whole number of at least 0")
    return int(value)


def _cost(data: dict[str, Any]) -> Decimal:
    value = data.get("cost_usd")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Wrong("cost_usd is not a number")
    billed = _billed(Decimal(value))
    if billed is None:
        raise _Wrong("cost_usd is negative or has more than 18 integer digits")
    return billed


def _billed(cost: Decimal) -> Decimal | None:
    """The cost as it is billed, rounded half to even at the 12th decimal (decision 5). None: out of range."""
    if cost.is_zero():
        return ZERO
    if not 0 < cost < 10**18:
        return None
    billed = TO_TWELVE.quantize(cost, TWELFTH)
    return billed if billed < 10**18 else None


def _fraction(digits: str) -> Decimal | str:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return digits  # beyond every exponent: whoever needs a number here refuses the text


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4_300 else digits  # Python reads no longer ones


class _Constant:
    """`NaN` or `Infinity` where a value should stand."""

    def __init__(self, text: str) -> None:
        self.text = text


def _not_json(record: Record, event: dict[str, Any] | Poison) -> bool:
    if isinstance(event, Poison):
        return True
    text = (record.value or b"").decode()
    if "NaN" in text or "Infinity" in text:
        return True
    return _DISPUTED.search(text) is not None or max(text.count("{"), text.count("[")) > DEPTH_SURE


def _bad_cost(record: Record, event: dict[str, Any] | Poison) -> bool:
    if isinstance(event, Poison):
        return b"NaN" in (record.value or b"") or b"Infinity" in (record.value or b"")
    data = event.get("data")
    value = data.get("cost_usd") if isinstance(data, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return True
    return _billed(Decimal(value)) is None


def _bad_total(_: Record, event: dict[str, Any] | Poison) -> bool:
    data = {} if isinstance(event, Poison) else event.get("data")
    if not isinstance(data, dict):
        return False
    try:
        return _count(data, "total_tokens") < _count(data, "prompt_tokens") + _count(data, "completion_tokens")
    except _Wrong:
        return False


def _in_future(record: Record, event: dict[str, Any] | Poison) -> bool:
    try:
        return not isinstance(event, Poison) and time_ms(event.get("timestamp")) > record.timestamp_ms + FUTURE_MS
    except ValueError:
        return False


_PLAUSIBLE: dict[str, Callable[[Record, dict[str, Any] | Poison], bool]] = {
    "empty_value": lambda record, _: not record.value,
    "malformed_json": _not_json,
    "invalid_cost": _bad_cost,
    "tokens_mismatch": _bad_total,
    "timestamp_in_future": _in_future,
    "record_timestamp_missing": lambda record, _: record.timestamp_ms in (-1, 0),
    "unknown_type": lambda _, event: isinstance(event, Poison) or event.get("type") != "llm.usage.completed",
    "org_unresolved": lambda _, event: isinstance(event, Poison) or not event.get("org_id"),
}


def plausible(reason: str, record: Record) -> bool:
    """Whether the record can have been refused for `reason`. Reasons that are not simple to check are believed."""
    check = _PLAUSIBLE.get(reason)
    return check is None or check(record, parse(record.value or b""))
