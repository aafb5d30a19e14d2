"""A refused record as its dead letter: why, from where, and its bytes unchanged (decision 18)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any, NamedTuple

import msgspec

from streamapp.runtime.chunk import Send
from streamapp.schemas.dead_letter import EVENT_REJECTED
from streamapp.schemas.timestamp import format_ms
from streamapp.schemas.ulid import event_id
from streamapp.topics.partitioner import partition_for

VALUE_BYTES_MAX = 2_500_000  # in base64 and with the rest it fits dead_letter's max.message.bytes of 4 MiB
ATTEMPT_HEADER = "hanzo-attempt"  # a redrive counts up
TOPIC = "dead_letter"

_encode = msgspec.json.Encoder().encode


class Origin(NamedTuple):
    """Who refused records, of which topic and partition."""

    group: str
    topic: str
    partition: int


def letter(record: Any, reason: str, error: str, origin: Origin, now_ms: int, partitions: int) -> Send:
    """The letter about a record that a consumer group refused.

    Its id is made from the record's coordinates: the same refusal, repeated after a crash, has the same id.
    """
    group, topic, partition = origin
    digest = hashlib.sha256(f"{group}\0{topic}\0{partition}\0{record.offset}".encode()).digest()
    value: bytes | None = record.value
    truncated = value is not None and len(value) > VALUE_BYTES_MAX
    data = {
        "source_topic": topic,
        "source_partition": partition,
        "source_offset": record.offset,
        "group": group,
        "reason": reason,
        "error": error[:1000],
        "key_b64": _b64(record.key),
        "value_b64": _b64(value[:VALUE_BYTES_MAX] if value is not None else None),
        "headers": [{"key": name, "value_b64": _b64(content)} for name, content in record.headers],
        "failed_at": format_ms(now_ms),
        "attempt": _attempt(record.headers),
    }
    if truncated:
        data["truncated"] = True
    envelope = {
        "schema": "hanzo.stream.v1",
        "id": event_id(max(record.timestamp, 0), digest[:10]),
        "type": EVENT_REJECTED,
        "source": group,
        "timestamp": format_ms(now_ms),
        "data": data,
    }
    key = topic.encode()
    return Send(TOPIC, partition_for(key, partitions), key, _encode(envelope))


def _b64(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _attempt(headers: Any) -> int:
    for name, content in headers:
        if name == ATTEMPT_HEADER and content is not None and content.isdigit():
            return int(content[:9]) + 1
    return 1
