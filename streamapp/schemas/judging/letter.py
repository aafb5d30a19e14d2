"""A refused record → its dead letter: why, from where, by whom, and its bytes unchanged (decision 18). Pure.

Everybody who refuses a record writes this one: consumer groups inside a chunk's transaction, producers and capture
before they answer.

    made = letter(Refused("llm_usage", None, None, producer="llm-gateway", reason="invalid_cost", ...), now_ms, entropy)
    await producer.send("dead_letter", made.key, made.value)
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from streamapp.schemas.dead_letter import EVENT_REJECTED
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.fields import NAME_MAX
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import RANDOM_BYTES, TIME_MAX_MS, event_id

TOPIC = "dead_letter"
ATTEMPT_HEADER = "hanzo-attempt"  # how often the record was sent again; a redrive counts up
VALUE_BYTES_MAX = 2_500_000  # in base64 and with the rest it fits dead_letter's max.message.bytes of 4 MiB
KEY_BYTES_MAX = 32_000  # Kafka sets none; no key of ours is as long
HEADERS_BYTES_MAX = 200_000  # names and contents together; what lies behind is dropped
HEADER_FRAME_BYTES = 40  # what one header costs in JSON besides its name and content
ERROR_CHARS_MAX = 1000

Header = tuple[str, bytes | None]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record, and who refused it why.

    `last_offset`: the dead letter is about a whole batch that cannot be read, which ends there; `value` is the batch.

    `partition` and `offset` are None for a record that never reached its topic. Exactly one of `group` and `producer`
    says who refused it. `timestamp_ms` is the record's own, or the moment it came in. `attempt` None: as the record's
    `hanzo-attempt` header says.
    """

    topic: str
    partition: int | None = None
    offset: int | None = None
    last_offset: int | None = None
    group: str | None = None
    producer: str | None = None
    reason: str
    error: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()
    timestamp_ms: int
    attempt: int | None = None


class Letter(NamedTuple):
    """A record for `dead_letter`, and its id."""

    key: bytes
    value: bytes
    id: str


def letter(refused: Refused, now_ms: int, entropy: bytes = b"") -> Letter:
    """The dead letter about a refused record.

    With coordinates its id is made from them: the same refusal, repeated after a crash, has the same id. Without, the
    id is made from the content and `entropy`: ten random bytes for a dead letter of its own, none for one that is the
    same however often the same content is refused.
    """
    assert (refused.group is None) != (refused.producer is None), refused
    by = refused.group or refused.producer or ""
    value, headers, key = refused.value, _fitting(refused.headers), refused.key
    data: dict[str, Any] = {
        "source_topic": refused.topic,
        "source_partition": refused.partition,
        "source_offset": refused.offset,
        **({} if refused.last_offset is None else {"source_last_offset": refused.last_offset}),
        ("group" if refused.group is not None else "producer"): by,
        "reason": refused.reason,
        "error": _sentence(refused.error),
        "key_b64": _b64(key, KEY_BYTES_MAX),
        "value_b64": _b64(value, VALUE_BYTES_MAX),
        "headers": [{"key": name, "value_b64": _b64(content)} for name, content in headers],
        "failed_at": format_ms(now_ms),
        "attempt": attempt_of(refused.headers) if refused.attempt is None else refused.attempt,
    }
    if len(value or b"") > VALUE_BYTES_MAX or len(key or b"") > KEY_BYTES_MAX or len(headers) < len(refused.headers):
        data["truncated"] = True
    made = event_id(min(max(refused.timestamp_ms, 0), TIME_MAX_MS), _digest(refused, by, entropy))
    envelope = {
        "schema": SCHEMA,
        "id": made,
        "type": EVENT_REJECTED,
        "source": by,
        "timestamp": format_ms(now_ms),
        "data": data,
    }
    return Letter(refused.topic.encode(), _encode(envelope), made)


def attempt_of(headers: Sequence[Header]) -> int:
    """Which refusal of a record this is: 1 for the first, plus one for each redrive before it."""
    for name, content in headers:
        if name == ATTEMPT_HEADER and content is not None and content.isdigit():
            return int(content[:9]) + 1
    return 1


def _digest(refused: Refused, by: str, entropy: bytes) -> bytes:
    if refused.partition is not None and refused.offset is not None:
        facts = f"{by}\0{refused.topic}\0{refused.partition}\0{refused.offset}".encode()
        return hashlib.sha256(facts).digest()[:RANDOM_BYTES]
    digest = hashlib.sha256()
    for part in (by.encode(), refused.topic.encode(), refused.key or b"", refused.value or b"", entropy):
        digest.update(len(part).to_bytes(8))  # so that no two lists of parts have the same bytes
        digest.update(part)
    return digest.digest()[:RANDOM_BYTES]


def _fitting(headers: Sequence[Header]) -> Sequence[Header]:
    """The first headers, as many as a dead letter has room for, up to one whose name is longer than any of ours."""
    size, kept = 0, []
    for name, content in headers:
        size += len(name.encode()) + len(content or b"") + HEADER_FRAME_BYTES
        if size > HEADERS_BYTES_MAX or len(name) > NAME_MAX:
            break
        kept.append((name, content))
    return kept


def _sentence(error: str) -> str:
    # A JSON text can spell half of a surrogate pair, and an error may quote it.
    return error[:ERROR_CHARS_MAX].encode(errors="replace").decode() or "no reason was given"


def _b64(content: bytes | None, most: int = VALUE_BYTES_MAX) -> str | None:
    return None if content is None else b64encode(content[:most]).decode()
