"""Facts → the bytes of one event, judged before they are sent, and what can come of it. Pure.

The bytes are judged by the reader that the consumers use: what is prepared here is accepted there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from streamapp.errors import DeliveryFailed, Denied, Misconfigured, Refused
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.envelope import SCHEMA, Envelope
from streamapp.schemas.judging.decode import decode_usage
from streamapp.schemas.judging.judge import first_problem
from streamapp.schemas.judging.letter import Header
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.llm_usage import LLM_USAGE
from streamapp.schemas.values.money import rounded_cost
from streamapp.schemas.values.strict_json import Malformed, parse
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.trace import HEADER
from streamapp.topics.registry import Topic
from tables.cause import quoted

EVENT_BYTES_MAX = 900_000  # Kafka takes a megabyte, and the record's own frame needs some of it
MEASUREMENTS = ("latency_ms", "ttft_ms")
NAMED_MAX = 20  # events named in one error message; all are in `events`

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MODELS = {entry.event_type: entry for entry in CATALOG}
_FAMILIES = {entry.topic: entry for entry in CATALOG if entry.family}
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Event(NamedTuple):
    """A logical event, ready to be sent. Send it again as it is: same id, same bytes, and it counts once."""

    id: str
    topic: str
    key: bytes
    value: bytes
    headers: tuple[Header, ...] = ()


class Receipt(NamedTuple):
    """Where an event stands in the log."""

    event_id: str
    topic: str
    partition: int
    offset: int


class EventRefused(Refused):
    """The event is not as its type demands; it was not sent. `rejected` says why."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(f"the event was not sent, {rejected.reason}: {rejected.error}")
        self.rejected = rejected


class NotAcknowledged(DeliveryFailed):
    """Kafka did not confirm these events in time. Whether it wrote them is unknown: send each of `events` again as it
    is, under the same id, and it counts once."""

    def __init__(self, events: Sequence[Event], reason: str) -> None:
        super().__init__(f"not acknowledged by Kafka: {_named(events)} ({reason})")
        self.events = tuple(events)
        self.reason = reason


class NotWritable(Misconfigured):
    """Kafka does not take these events until a person has put right what `reason` says: their topic does not exist, or
    may not be written to. Then send each of `events` again as it is."""

    def __init__(self, events: Sequence[Event], reason: str) -> None:
        super().__init__(f"{reason} (not written: {_named(events)})")
        self.events = tuple(events)
        self.reason = reason


class WriteDenied(NotWritable, Denied):
    """The same, because a right is missing."""


def unsent(events: Sequence[Event], wrong: Misconfigured | None, reason: str) -> NotAcknowledged | NotWritable:
    """The error about these events. `wrong` is what a person must put right, as far as is known."""
    if wrong is None:
        return NotAcknowledged(events, reason)
    return (WriteDenied if isinstance(wrong, Denied) else NotWritable)(events, str(wrong))


def _named(events: Sequence[Event]) -> str:
    more = f" and {len(events) - NAMED_MAX:,} more" if len(events) > NAMED_MAX else ""
    return ", ".join(event.id for event in events[:NAMED_MAX]) + more


def prepare(
    topic: Topic,
    *,
    event_id: str,
    event_type: str,
    source: str,
    at_ms: int,
    data: Mapping[str, Any],
    team_id: str | None = None,
    org_id: str | None = None,
    traceparent: str | None = None,
) -> Event | Rejected:
    """The event, or why nobody would accept it. `traceparent` becomes a header of the record, as it is.

    The record key is what the registry names for the topic: `team_id`, `org_id`, or a field of `data`. Decimals in
    `data` become JSON numbers with their own digits. `cost_usd` is a Decimal, an int or the text of a number, of any
    number of decimals: it is billed rounded to 12. A float has lost the digits that count, and is refused.
    """
    fields = payload(data)
    if isinstance(fields, Rejected):
        return fields
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "id": event_id,
        "type": event_type,
        "source": source,
        "timestamp": format_ms(at_ms),
        "team_id": team_id,
        "org_id": org_id,
        "data": fields,
    }
    key = tree.get(topic.key) or data.get(topic.key)
    if not isinstance(key, str) or not key:
        return Rejected(Reason.INVALID_ENVELOPE, f"{topic.key} is missing; it is the record key of {topic.name}")
    try:
        value = _encode({name: fact for name, fact in tree.items() if fact is not None})
        event = Event(event_id, topic.name, key.encode(), value, traced(traceparent))
    except (TypeError, ValueError, OverflowError) as error:
        return Rejected(Reason.INVALID_DATA, f"the event cannot be written as JSON: {error}")
    return _judged(event, event_type)


def traced(traceparent: object) -> tuple[Header, ...]:
    """The header by which the call is followed that an event is about."""
    return ((HEADER, traceparent.encode()),) if isinstance(traceparent, str) and traceparent else ()


def payload(data: Mapping[str, Any]) -> dict[str, Any] | Rejected:
    """`data` as it is written: `cost_usd` with its own digits; a measurement that is not finite is null."""
    fields = dict(data)
    for name, fact in fields.items():
        if not isinstance(fact, float | Decimal) or math.isfinite(fact) or name == "cost_usd":
            continue
        if name in MEASUREMENTS:
            fields[name] = None  # it never costs money (decision 6)
        else:  # as JSON it would silently become null
            return Rejected(Reason.INVALID_DATA, f"field {quoted(name)} of data is not a finite number")
    if "cost_usd" in fields:
        cost = _cost(fields["cost_usd"])
        if isinstance(cost, Rejected):
            return cost
        fields["cost_usd"] = cost
    return fields


def _cost(given: Any) -> msgspec.Raw | Rejected:
    if type(given) is float:
        return Rejected(Reason.INVALID_COST, "data.cost_usd is a float; give a Decimal, an int or the number as text")
    if type(given) is str and _NUMBER.fullmatch(given):
        given = Decimal(given)
    if type(given) is not Decimal and type(given) is not int:
        return Rejected(Reason.INVALID_COST, "data.cost_usd is not a number")
    try:
        cost = rounded_cost(given)
    except ValueError as error:
        return Rejected(Reason.INVALID_COST, f"data.cost_usd {error}")
    if cost != given:  # who bills it rounds and counts it
        return msgspec.Raw(str(given).encode())
    return msgspec.Raw(format(cost, "f").rstrip("0").rstrip(".").encode())


def _judged(event: Event, event_type: str) -> Event | Rejected:
    if len(event.value) > EVENT_BYTES_MAX:
        return Rejected(Reason.INVALID_DATA, f"the event is larger than {EVENT_BYTES_MAX} bytes")
    entry = _MODELS.get(event_type) or _FAMILIES.get(event.topic)
    if entry is not None and entry.topic != event.topic:
        return Rejected(Reason.UNKNOWN_TYPE, f"{event_type} belongs on {entry.topic}, not on {event.topic}")
    if event.topic == _MODELS[LLM_USAGE].topic:
        verdict = decode_usage(event.value)
        return verdict if isinstance(verdict, Rejected) else event
    try:
        (entry.model if entry is not None else Envelope).model_validate(parse(event.value)[0])
    except Malformed as error:
        return Rejected(Reason.INVALID_DATA, f"the event does not fit {quoted(event_type)}: it {error}")
    except ValidationError as error:
        return Rejected(Reason.INVALID_DATA, f"the event does not fit {quoted(event_type)}: {first_problem(error)}")
    return event
