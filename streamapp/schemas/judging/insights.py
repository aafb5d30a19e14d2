"""One record of `events_plugin_ingestion` → an event as ClickHouse keeps it, or why it is refused.

As in `decode`, two readers: what the fast one takes is accepted with the values that the models give; what it does not
take the models judge, and they alone give reasons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from streamapp.schemas.captured import CUT_AT, EVENT_CAPTURED, EventCaptured
from streamapp.schemas.judging.decode import is_well_formed
from streamapp.schemas.judging.judge import Court, judge
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.judging.usage import Id, Label, Name
from streamapp.schemas.values.timestamp import parse_ms, written_ms

KEPT_UNTIL_MS = 4_102_444_800_000  # 2100-01-01: ClickHouse's dates end in 2149, and nothing of then has happened


Cut = Annotated[str, msgspec.Meta(min_length=1, max_length=CUT_AT)]
_ZEROS = str.maketrans("0123456789abcdef", "0" * 16)
_UUID = "00000000-0000-0000-0000-000000000000"


class CapturedEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row. `properties` is JSON text, as the client wrote it; times in UTC milliseconds."""

    uuid: str
    event: str
    properties: str
    at_ms: int
    team_id: str
    distinct_id: str
    session_id: str
    ip: str


class CapturedPayload(msgspec.Struct, gc=False):
    """The payload as the fast reader finds it; nothing but lengths is looked at yet."""

    event: Cut
    distinct_id: Cut
    properties: msgspec.Raw
    ip: Label | None = None
    session_id: Cut | None = None
    sent_at: str | None = None
    uuid: str | None = None


class Captured(msgspec.Struct, gc=False, kw_only=True):
    """A whole event, as well."""

    schema: Literal["hanzo.stream.v1"]
    id: Id
    type: Literal["insights.event.captured"]
    source: Name
    timestamp: str
    team_id: Name
    org_id: Name | None = None
    data: CapturedPayload


class _PropertiesOf(msgspec.Struct, gc=False):
    properties: msgspec.Raw


class _Properties(msgspec.Struct, gc=False):
    data: _PropertiesOf


_decode = msgspec.json.Decoder(Captured).decode
_decode_properties = msgspec.json.Decoder(_Properties).decode


def judge_captured(raw: bytes | None) -> CapturedEvent | Rejected:
    """The event in a record's value by the models, or the first reason to refuse it. Never raises."""
    event = judge(raw, _COURT)
    if isinstance(event, Rejected):
        return event
    assert raw is not None
    data, at_ms = event.data, written_ms(event.timestamp)
    try:
        properties = bytes(_decode_properties(raw).data.properties)
    except msgspec.DecodeError as error:
        return Rejected(Reason.MALFORMED_JSON, f"properties cannot be read: {error}")
    return _row(data, data.uuid or uuid_of(event.id), properties, at_ms, event.team_id)


def decode_captured(
    raw: bytes | None, judge: Callable[[bytes | None], CapturedEvent | Rejected] = judge_captured
) -> CapturedEvent | Rejected:
    """The event in a record's value, or why it is refused. Never raises; the same bytes give an equal result.

    `judge` decides what the fast reader leaves; another one than the models shows what that is.
    """
    try:
        row = None if raw is None else _fast(raw)
    except Exception:  # whatever it was, the models decide
        row = None
    return judge(raw) if row is None else row


def _fast(raw: bytes) -> CapturedEvent | Rejected | None:
    """None, or any error: it is for the models to say."""
    event = _decode(raw)
    # Patterns are looked at here: in the decoder they cost a third of all.
    name, data = event.id, event.data
    if not is_well_formed(raw, name):
        return None
    if data.uuid is not None and data.uuid.translate(_ZEROS) != _UUID:
        return None
    at_ms, properties = parse_ms(event.timestamp), bytes(data.properties)
    sent = data.sent_at is None or parse_ms(data.sent_at) is not None
    if at_ms is None or not sent or properties[:1] != b"{":
        return None
    return _row(data, data.uuid or uuid_of(name), properties, at_ms, event.team_id)


def _row(data: Any, uuid: str, properties: bytes, at_ms: int, team: str) -> CapturedEvent | Rejected:
    """Of a payload as either reader has it."""
    if at_ms >= KEPT_UNTIL_MS:
        return Rejected(Reason.INVALID_DATA, "timestamp is after the year 2099, which is not kept")
    session, ip = data.session_id or "", data.ip or ""
    return CapturedEvent(uuid, data.event, properties.decode(), at_ms, team, data.distinct_id, session, ip)


def uuid_of(event_id: str) -> str:
    """The uuid of an event without one: a function of its id, in the form of version 8 (RFC 9562)."""
    digest = bytearray(hashlib.sha256(event_id.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


_COURT: Court[EventCaptured, EventCaptured] = Court(
    EVENT_CAPTURED, EventCaptured, lambda event, _: event, "properties", (), {}
)
