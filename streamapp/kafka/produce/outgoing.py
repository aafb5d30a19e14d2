"""Facts → the bytes of one event, judged before they are sent, and what can come of it. Pure.

The bytes are judged by the reader that the consumers use: what is prepared here is accepted there.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from pydantic import ValidationError

from streamapp.errors import DeliveryFailed, Denied, Misconfigured, Refused
from streamapp.schemas.catalog import CATALOG, JUDGES
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.judging.decode import decode_usage
from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.schemas.judging.insights import decode_captured
from streamapp.schemas.judging.judge import first_problem
from streamapp.schemas.judging.letter import Header
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.money import exact_cost, rounded_cost
from streamapp.schemas.values.strict_json import Malformed, parse
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.trace import HEADER
from streamapp.topics.registry import Topic
from tables.cause import quoted

EVENT_BYTES_MAX = 900_000  # Kafka takes a megabyte, and the record's own frame needs some of it
SCHEMA_ID = "__value_schema_id"  # Confluent's header: 0x01 and the GUID (decision 30)
MEASUREMENTS = ("latency_ms", "ttft_ms")
NAMED_MAX = 20  # events named in one error message; all are in `events`

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MODELS = {entry.event_type: entry for entry in CATALOG}
READERS: Mapping[str, Callable[[bytes | None], object | Rejected]] = {
    **JUDGES,
    "llm_usage": decode_usage,
    "agent_rpc_metering": decode_metering,
    "events_plugin_ingestion": decode_captured,
}
"""Topic → the verdict of its consumers on a value, by the fast reader where there is one."""
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


@dataclass(eq=False, slots=True)
class Pending:
    """An event under way."""

    event: Event
    future: asyncio.Future[Receipt]
    awaited: bool


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


def joined(failures: Sequence[NotAcknowledged | NotWritable], reason: str) -> NotAcknowledged | NotWritable:
    """One error about the events of all. `reason`: why those are not acknowledged that are only that."""
    events = [event for failure in failures for event in failure.events]
    wrong = next((failure for failure in failures if isinstance(failure, NotWritable)), None)
    return NotAcknowledged(events, reason) if wrong is None else type(wrong)(events, wrong.reason)


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
    schema_id: UUID | None = None,
) -> Event | Rejected:
    """The event, or why nobody would accept it. `traceparent` becomes a header of the record, as it is; `schema_id`,
    the GUID of the event's schema in the registry, another one.

    The record key is what the registry names for the topic: `team_id`, `org_id`, or a field of `data`. Decimals in
    `data` become JSON numbers with their own digits. Money (`cost_usd`, the `price` of a metered call) is a Decimal, an
    int or the text of a number. A cost has any number of decimals: it is billed rounded to 12. A price has at most 12.
    A float has lost the digits that count, and is refused.
    """
    fields = payload(topic, data)
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
        headers = (*traced(traceparent), *(((SCHEMA_ID, b"\1" + schema_id.bytes),) if schema_id else ()))
        event = Event(event_id, topic.name, key.encode(), value, headers)
    except (TypeError, ValueError, OverflowError) as error:
        return Rejected(Reason.INVALID_DATA, f"the event cannot be written as JSON: {error}")
    return _judged(event, event_type)


def traced(traceparent: object) -> tuple[Header, ...]:
    """The header by which the call is followed that an event is about."""
    return ((HEADER, traceparent.encode()),) if isinstance(traceparent, str) and traceparent else ()


def payload(topic: Topic, data: Mapping[str, Any]) -> dict[str, Any] | Rejected:
    """`data` as it is written: money with its own digits; a measurement that is not finite is null."""
    fields, (money, written) = dict(data), MONEY.get(topic.name, ("", _cost))
    for name, fact in fields.items():
        if not isinstance(fact, float | Decimal) or math.isfinite(fact) or name == money:
            continue
        if name in MEASUREMENTS:
            fields[name] = None  # it never costs money (decision 6)
        else:  # as JSON it would silently become null
            return Rejected(Reason.INVALID_DATA, f"field {quoted(name)} of data is not a finite number")
    if money in fields:
        try:
            fields[money] = written(_decimal(fields[money]))
        except ValueError as error:
            reason = Reason.INVALID_COST if written is _cost else Reason.INVALID_PRICE
            return Rejected(reason, f"data.{money} {error}")
    return fields


def _decimal(given: Any) -> Decimal | int:
    if type(given) is float:
        raise ValueError("is a float; give a Decimal, an int or the number as text")
    if type(given) is str and _NUMBER.fullmatch(given):
        given = Decimal(given)
    if type(given) is not Decimal and type(given) is not int:
        raise ValueError("is not a number")
    return given


def _cost(given: Decimal | int) -> msgspec.Raw:
    cost = rounded_cost(given)
    return msgspec.Raw(str(given).encode() if cost != given else _short(cost).encode())  # who bills it rounds


def _price(given: Decimal | int) -> str:
    return _short(exact_cost(given))


def _short(amount: Decimal) -> str:
    return format(amount, "f").rstrip("0").rstrip(".")


MONEY: Mapping[str, tuple[str, Callable[[Decimal | int], object]]] = {
    "llm_usage": ("cost_usd", _cost),
    "agent_rpc_metering": ("price", _price),
}
"""Topic → the field of `data` that is money, and how it is written: a number, or a text."""


def _judged(event: Event, event_type: str) -> Event | Rejected:
    """The event, if the readers of its topic take it. What they take is valid under the released schema of its type."""
    if len(event.value) > EVENT_BYTES_MAX:
        return Rejected(Reason.INVALID_DATA, f"the event is larger than {EVENT_BYTES_MAX} bytes")
    entry = _MODELS.get(event_type)
    if entry is not None and entry.topic != event.topic:
        return Rejected(Reason.UNKNOWN_TYPE, f"{event_type} belongs on {entry.topic}, not on {event.topic}")
    if (read := READERS.get(event.topic)) is not None:
        verdict = read(event.value)
        return verdict if isinstance(verdict, Rejected) else event
    if entry is None:
        return Rejected(Reason.UNKNOWN_TYPE, f"{event.topic} carries no events of type {quoted(event_type)}")
    try:
        entry.model.model_validate(parse(event.value)[0])
    except Malformed as error:
        return Rejected(Reason.INVALID_DATA, f"the event does not fit {quoted(event_type)}: it {error}")
    except ValidationError as error:
        return Rejected(Reason.INVALID_DATA, f"the event does not fit {quoted(event_type)}: {first_problem(error)}")
    return event
