"""An event that its own producer refuses, as a dead letter: nobody else will ever see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from confluent_kafka import KafkaError

from streamapp.kafka.produce.outgoing import Event, EventRefused, NotAcknowledged, NotWritable, payload, traced, unsent
from streamapp.kafka.trouble import to_mend
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.judging.letter import TOPIC, Refused, letter
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.timestamp import format_ms
from streamapp.topics.registry import Topic, topic

LETTER_BYTES_MAX = int(dict(topic(TOPIC).configs)["max.message.bytes"])

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def refusal(
    meant_for: Topic,
    source: str,
    rejected: Rejected,
    facts: Mapping[str, Any],
    event_id: str,
    now_ms: int,
    random: bytes,
) -> Event:
    """The dead letter about an event that was never sent. Its value is the envelope as it would have been, as far as it
    can be written as JSON; `facts` are those given for it."""
    given = facts.get("data")
    at_ms = facts.get("at_ms")
    exact = payload(meant_for, given) if isinstance(given, Mapping) else given
    tree = {
        "schema": SCHEMA,
        "id": facts.get("id") or event_id,
        "type": facts.get("type"),
        "source": source,
        "timestamp": format_ms(now_ms if at_ms is None else at_ms),
        "team_id": facts.get("team_id"),
        "org_id": facts.get("org_id"),
        "data": given if isinstance(exact, Rejected) else exact,
    }
    key = tree.get(meant_for.key) or (given.get(meant_for.key) if isinstance(given, Mapping) else None)
    about = Refused(
        topic=meant_for.name,
        producer=source,
        reason=rejected.reason,
        error=rejected.error,
        key=key.encode(errors="replace") if isinstance(key, str) else None,
        value=_written({name: fact for name, fact in tree.items() if fact is not None}),
        headers=traced(facts.get("traceparent")),
        timestamp_ms=now_ms,
    )
    made = letter(about, now_ms, random)
    return Event(made.id, TOPIC, made.key, made.value)


def not_taken(event: Event, error: KafkaError, user: str | None) -> EventRefused | NotAcknowledged | NotWritable:
    """What it means that the client does not take an event. `user`: whose client."""
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return EventRefused(Rejected(Reason.INVALID_DATA, f"{event.id} is larger than Kafka takes"))
    advice = "; this producer cannot go on, make a new one" if error.fatal() else ""
    return unsent((event,), to_mend(error, event.topic, user), error.str() + advice)


def _written(tree: Mapping[str, Any]) -> bytes:
    try:
        return _encode(tree)
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # a text with half a surrogate pair, an integer of many digits, keys that are no texts
    try:
        return json.dumps(tree, default=str, skipkeys=True).encode()
    except (TypeError, ValueError, RecursionError):
        return repr(tree).encode(errors="replace")
