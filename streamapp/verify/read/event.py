"""How a check reads a JSON event: the rules of the standard in their simplest form.

Where the workers' models are stricter than these rules (a required field that money does not depend on), the record
has a dead letter, and the check accepts that. Where they would be laxer, the check calls the record poison and finds no
dead letter for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, NamedTuple, Protocol, TypeVar

from streamapp.kafka.log.reader import Record

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Additions under this context are exact or raise: 200 digits hold more than 10^150 events of the highest cost."""

HOUR_MS = 3_600_000
FUTURE_MS = 300_000  # further ahead of its broker record than this, an event is refused
ZERO = Decimal(0)
BY_ITSELF = frozenset({"empty_value", "malformed_json", "framed_json", "invalid_envelope", "unknown_type"})
"""Reasons that a record that can be read never has; `invalid_price` is another, but for spellings. The models look at
more fields than statements depend on: `invalid_data` is accepted."""
SCHEMA = "hanzo.stream.v1"

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Poison(NamedTuple):
    """Why a record cannot be counted, in one sentence."""

    error: str


class Wrong(Exception):
    """A field breaks a rule."""


class Event(Protocol):
    """What the checks of sums need of an event."""

    @property
    def id(self) -> str: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def team(self) -> str | None: ...
    @property
    def org(self) -> str | None: ...


E = TypeVar("E", bound=Event)


def at(record: Record) -> str:
    """Where a record is: `llm_usage[3]@1024`."""
    return f"{record.topic}[{record.partition}]@{record.offset}"


def parse(value: bytes | None) -> dict[str, Any] | Poison:
    """The JSON object with exact numbers. NaN and Infinity are not JSON, but an event whose measurement holds one is
    billed; elsewhere no rule accepts them."""
    try:
        event = json.loads((value or b"").decode(), parse_float=_fraction, parse_int=_whole, parse_constant=_Constant)
    except (ValueError, RecursionError) as error:
        return Poison(f"not JSON: {error}")
    return event if isinstance(event, dict) else Poison("not a JSON object")


def read_event(
    record: Record, type_: str, key: str, fields: Callable[[dict[str, Any], dict[str, Any]], E]
) -> E | Poison:
    """What a record of a source topic says, or why it cannot be counted. Never raises. `key`: the field of the event
    that the record's key must be. `fields`: (envelope, data) → the event; raises `Wrong`."""
    if not record.value:
        return Poison("the record has no value")
    event = parse(record.value)
    if isinstance(event, Poison):
        return event
    try:
        data = event.get("data")
        must(event.get("schema") == SCHEMA, f"schema is not {SCHEMA}")
        must(isinstance(event.get("id"), str) and _ID.fullmatch(event["id"]) is not None, "id is not usable")
        must(event.get("type") == type_, f"type is not {type_}")
        must(isinstance(event.get("source"), str), "source is not a string")
        if not isinstance(data, dict):
            return Poison("data is not an object")
        found = fields(event, data)
    except (Wrong, ValueError, ArithmeticError) as error:
        return Poison(str(error))
    if record.key != getattr(found, key).encode("utf-8", "surrogatepass"):
        return Poison(f"the record key is not the {key}_id")
    if record.timestamp_ms in (-1, 0):
        return Poison("the record has no timestamp")
    if found.time_ms > record.timestamp_ms + FUTURE_MS:
        return Poison("the timestamp is more than 5 minutes ahead of the record")
    return found


def must(holds: bool, sentence: str) -> None:
    """Raises `Wrong` unless it holds."""
    if not holds:
        raise Wrong(sentence)


def text(fields: dict[str, Any], name: str) -> str:
    """A field that must be a text with something in it."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Wrong(f"{name} is missing or not a string")
    return value


def whole(value: Any) -> int | None:
    """A number that is whole and at least 0, also when it is spelled 100.0; None for anything else."""
    if isinstance(value, Decimal) and 0 <= value < 10**18 and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


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


def hour_of(at_ms: int) -> int:
    """Start of the hour of a moment."""
    return at_ms - at_ms % HOUR_MS


def time_text(at_ms: int) -> str:
    """`2025-01-15T10:00:00.000Z`."""
    second, millis = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def _fraction(digits: str) -> Decimal | str:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return digits  # beyond every exponent: a rule that needs a number here refuses the text


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4_300 else digits  # Python reads no longer ones


class _Constant:
    """`NaN` or `Infinity` in place of a value."""

    def __init__(self, text: str) -> None:
        self.text = text
