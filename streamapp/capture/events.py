"""One event of a client → the bytes of its `insights.event.captured` record, or why it is refused.

`schemas.captured.EventCaptured` is the contract; the structs here write the same, faster, and tests hold them to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from streamapp.capture import answers
from streamapp.capture.answers import Kind
from streamapp.capture.moments import happened_ms, read_ms, text_of
from streamapp.capture.sent import Broken, SentEvent, is_stated, read_properties, with_person
from streamapp.capture.teams import Team
from streamapp.schemas.captured import CUT_AT, EVENT_CAPTURED
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.strict_json import DEPTH_MAX, too_deep
from streamapp.schemas.timestamp import END_MS
from streamapp.schemas.ulid import RANDOM_BYTES, event_id

Trouble = tuple[Kind, str]  # and a sentence about this one

SOURCE = "insights-capture"
TOPIC = "events_plugin_ingestion"
EVENT_BYTES_MAX = 900_000  # Kafka takes a megabyte, and the record's own frame needs some of it

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII).fullmatch
_EMPTY = Raw(b"{}")
_encode = msgspec.json.Encoder().encode


class _Data(Struct, gc=False):
    event: str
    distinct_id: str
    properties: Raw
    ip: str | UnsetType
    session_id: str | UnsetType
    sent_at: str | UnsetType
    uuid: str


class _Envelope(Struct, gc=False):
    schema: str
    id: str
    type: str
    source: str
    timestamp: str
    team_id: str
    org_id: str | UnsetType
    data: _Data


@dataclass(slots=True)
class Arrival:
    """What the events of one request have in common."""

    team: Team
    now_ms: int
    ip: str
    sent_ms: int | None
    sent_text: str | UnsetType

    @classmethod
    def of(cls, team: Team, now_ms: int, ip: str, sent_ms: int | None) -> Arrival:
        known = sent_ms is not None and 0 <= sent_ms < END_MS
        return cls(team, now_ms, ip, sent_ms if known else None, text_of(sent_ms or 0) if known else UNSET)


def captured(event: SentEvent | None, arrival: Arrival, entropy: bytes) -> bytes | Trouble:
    """The record's value, or the kind of trouble and a sentence. `entropy`: ten random bytes of this event alone."""
    if event is None:
        return answers.INVALID_EVENT, "the event is not an object"
    name = event.event
    if type(name) is not str or not name:
        return answers.MISSING_EVENT_NAME, "event is missing or not a text"
    try:
        properties = _properties_of(event)
        looked_for = read_properties(properties)
    except Broken as error:
        return answers.INVALID_EVENT, f"properties cannot be read: {error}"
    who = _text(event.distinct_id) or _text(event.alias) or _text(looked_for.distinct_id)
    if not who:
        return answers.MISSING_DISTINCT_ID, "distinct_id is missing or empty"
    ignored = looked_for.ignore_sent_at is True
    at_ms = happened_ms(event.timestamp, event.offset, None if ignored else arrival.sent_ms, arrival.now_ms)
    uuid = _uuid(event.uuid) or _new_uuid(arrival.now_ms, entropy)
    team = arrival.team
    session = _text(looked_for.session)
    name = name if len(name) <= CUT_AT else name[:CUT_AT]
    data = _Data(name, who, properties, arrival.ip or UNSET, session or UNSET, arrival.sent_text, uuid)
    made = _id(uuid, team, event.timestamp, arrival.now_ms)
    org = team.org or UNSET
    value = _encode(_Envelope(SCHEMA, made, EVENT_CAPTURED, SOURCE, text_of(at_ms), team.id, org, data))
    if len(value) > EVENT_BYTES_MAX:
        return answers.EVENT_TOO_LARGE, f"the event is larger than {EVENT_BYTES_MAX} bytes"
    return value


def _properties_of(event: SentEvent) -> Raw:
    properties = with_person(event) if len(event.person) or len(event.person_once) else event.properties
    if len(properties) < 2 * DEPTH_MAX:  # so few bytes cannot open and close more brackets than readers take
        return properties if is_stated(properties) else _EMPTY
    raw = bytes(properties)
    # The envelope and its data are two levels more.
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX - 2 and too_deep("[[" + raw.decode()):
        raise msgspec.ValidationError(f"nested more than {DEPTH_MAX - 2} levels deep")
    return properties


def _text(value: Any) -> str:
    """As an id: texts as they are, numbers with their own digits, the rest as JSON; at most `CUT_AT` characters."""
    if type(value) is not str:
        if value is None:
            return ""
        value = str(_encode(value), "utf-8")
    if "\0" in value:
        value = value.replace("\0", "\ufffd")  # databases behind us do not keep it
    text: str = value if len(value) <= CUT_AT else value[:CUT_AT]
    return text


def _uuid(value: Any) -> str | None:
    if type(value) is not str:
        return None
    if _UUID(value):
        return value
    try:
        return str(UUID(value)) if value.isascii() else None
    except ValueError:
        return None


def _new_uuid(now_ms: int, entropy: bytes) -> str:
    """Version 7: the time, then random bits."""
    bits = now_ms << 80 | int.from_bytes(entropy)
    bits = bits & ~(0xF << 76) | 7 << 76
    return str(UUID(int=bits & ~(0x3 << 62) | 2 << 62))


def _id(uuid: str, team: Team, timestamp: Any, now_ms: int) -> str:
    """A client that sends an event again under its uuid means the same event: it gets the same id.

    The time part is that of the uuid (version 7), else the client's own timestamp, which does not change either.
    """
    if uuid[14] == "7":
        made_ms = int(uuid[:8] + uuid[9:13], 16)
    else:
        stated_ms = None if timestamp is None else read_ms(timestamp)
        made_ms = now_ms if stated_ms is None or not 0 <= stated_ms < END_MS else stated_ms
    return event_id(made_ms, sha256(team.key + b"\0" + uuid.encode()).digest()[:RANDOM_BYTES])
