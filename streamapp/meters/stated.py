"""What tables state, as events of `billing_events`: the envelope, and which records a statement counts."""

from __future__ import annotations

from typing import Any

from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.values.timestamp import format_ms

BYTES_MAX = 1_000_000
"""Of a statement. The topic's `max.message.bytes` is a little more: a key and the batch's head belong to it, too."""


def envelope(
    id_: str, kind: str, source: str, at_ms: int, org: str, data: dict[str, Any], **owner: str | None
) -> dict[str, Any]:
    """The event that states `data`, its fields in the order in which they are written. `owner`: what stands before the
    org."""
    head = {"schema": SCHEMA, "id": id_, "type": kind, "source": source, "timestamp": format_ms(at_ms)}
    return {**head, **owner, "org_id": org, "data": data}


def coverage(topic: str, partition: int, first_offset: int, last_offset: int, events: int) -> dict[str, Any]:
    """Where the records lie that a statement counts, and how many they are."""
    where = {"topic": topic, "partition": partition}
    return {**where, "first_offset": first_offset, "last_offset": last_offset, "events": events}
