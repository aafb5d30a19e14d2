"""A new version of an event type against the real events of its topic: how many would be refused, and whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from jsonschema_rs import Draft202012Validator, ValidationError

from streamapp.errors import Misconfigured
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, read, spans
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.schemas.released import newest as newest_released
from streamapp.schemas.values.escaped import escaped
from streamapp.settings import KafkaSettings

LAST = 1_000
WIDER = 8  # how much further back the next look goes when the last one had too few events of the type
FIRST_SHOWN = 3


class First(NamedTuple):
    """An event that would be refused, where it is, and why."""

    partition: int
    offset: int
    why: str


@dataclass(slots=True)
class Producer:
    """What came from one `source` of the envelope."""

    events: int = 0
    refused: int = 0
    first: list[First] = field(default_factory=list)  # the first few of the log


@dataclass(slots=True)
class Rehearsal:
    """Over the newest events of a type. `not_valid_now` are left out: the schema of now refuses them already."""

    event_type: str
    topic: str
    producers: dict[str, Producer] = field(default_factory=dict)
    not_valid_now: int = 0

    @property
    def events(self) -> int:
        """How many were looked at."""
        return sum(one.events for one in self.producers.values())

    @property
    def refused(self) -> int:
        """How many of them the new version does not take."""
        return sum(one.refused for one in self.producers.values())


def rehearse(
    kafka: KafkaSettings,
    event_type: str,
    new: Mapping[str, Any],
    last: int = LAST,
    now: Mapping[str, Any] | None = None,
) -> Rehearsal:
    """The newest `last` events of the type, or all there are. `now` as in `judged`.

    Raises `Misconfigured` for an unknown type or a schema that is none, `Unavailable` when Kafka does not answer.
    """
    topic = next((entry.topic for entry in CATALOG if entry.event_type == event_type), None)
    if topic is None:
        raise Misconfigured(f"{event_type} is no event type; see: streamapp schemas list")
    return judged(event_type, topic, new, newest(confluent_config(kafka), event_type, topic, last), now)


def newest(config: Mapping[str, Any], event_type: str, topic: str, last: int) -> list[Record]:
    """The newest events of a type in offset order, by partition: looks further back until there are enough."""
    there = spans(config, topic)
    window = max(1, -(-last // len(there)))
    while True:
        part = {number: Span(max(span.start, span.end - window), span.end) for number, span in there.items()}
        found = [record for record in read(config, topic, part) if _of_type(record, event_type)]
        if len(found) >= last or all(part[number].start == there[number].start for number in there):
            break
        window *= WIDER
    kept = sorted(found, key=lambda record: record.timestamp_ms)[-last:]
    return sorted(kept, key=lambda record: (record.partition, record.offset))


def judged(
    event_type: str,
    topic: str,
    new: Mapping[str, Any],
    records: Iterable[Record],
    now: Mapping[str, Any] | None = None,
) -> Rehearsal:
    """Pure. Only events that are valid under `now` count, the newest released version by default: the models may have
    `new` already. `records` are JSON objects, as `newest` finds them.

    Raises `Misconfigured` for a schema that is none, and for a type without a released version."""
    try:
        wanted = Draft202012Validator(dict(new))
        held = Draft202012Validator(dict(newest_released(event_type).schema if now is None else now))
    except (ValidationError, ValueError) as error:
        raise Misconfigured(f"that is no JSON Schema: {str(error).splitlines()[0]}") from None
    told = Rehearsal(event_type, topic)
    for record in records:
        event = orjson.loads(record.value or b"")
        if not held.is_valid(event):
            told.not_valid_now += 1
            continue
        one = told.producers.setdefault(str(event.get("source", "")), Producer())
        one.events += 1
        wrong = next(wanted.iter_errors(event), None)
        if wrong is not None:
            one.refused += 1
            if len(one.first) < FIRST_SHOWN:
                place = "/".join(map(str, wrong.instance_path))
                one.first.append(First(record.partition, record.offset, f"/{place}: {wrong.message[:200]}"))
    return told


def lines(told: Rehearsal) -> Iterator[str]:
    """For people."""
    left_out = f", {told.not_valid_now:,} more are not valid now" if told.not_valid_now else ""
    yield f"{told.event_type}: {told.refused:,} of the newest {told.events:,} events would be refused{left_out}"
    counts = Counter({name: one.refused for name, one in told.producers.items()})
    for name, refused in counts.most_common():
        one = told.producers[name]
        yield f"  {escaped(name)}: {refused:,} of {one.events:,}"
        for first in one.first:
            yield f"    {told.topic}[{first.partition}] offset {first.offset} {escaped(first.why)}"


def _event(record: Record) -> dict[str, Any] | None:
    if record.value is None or isinstance(record.value, UnreadableBatch):
        return None
    try:
        event = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None


def _of_type(record: Record, event_type: str) -> bool:
    """Of an open family every event is one; what is no event at all is nobody's."""
    event = _event(record)
    family = next(entry.family for entry in CATALOG if entry.event_type == event_type)
    return event is not None and (family or event.get("type") == event_type)
