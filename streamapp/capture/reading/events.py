"""One event of a client → the bytes of its `insights.event.captured` record, or why it is refused.

`schemas.captured.EventCaptured` is the contract; the structs here write the same, faster, and tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from streamapp.capture.reading import answers
from streamapp.capture.reading.answers import Kind
from streamapp.capture.reading.ids import id_of, new_uuid, read_uuid
from streamapp.capture.reading.moments import happened_ms, read_ms, text_of
from streamapp.capture.reading.sent import (
    UNSAID,
    Broken,
    SentEvent,
    Unread,
    is_stated,
    look_over_properties,
    read_properties,
    with_person,
)
from streamapp.capture.reading.teams import Team
from streamapp.schemas.captured import CUT_AT, EVENT_CAPTURED
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.values.strict_json import DEPTH_MAX, too_deep
from streamapp.schemas.values.timestamp import END_MS
from streamapp.schemas.values.ulid import RANDOM_BYTES

Trouble = tuple[Kind, str]  # and a sentence about this one

SOURCE = "insights-capture"
TOPIC = "events_plugin_ingestion"
EVENT_BYTES_MAX = 900_000  # Kafka takes a megabyte, and the record's own frame needs some of it

FLAT_MAX = 2 * DEPTH_MAX  # so few bytes cannot open and close more brackets than readers take

NONE, OTHER = "none", "other"
LIBRARIES = frozenset(
    {
        *("web", "js", "posthog-android", "posthog-dotnet", "posthog-elixir", "posthog-flutter", "posthog-go"),
        *("posthog-ios", "posthog-java", "posthog-js-lite", "posthog-node", "posthog-php", "posthog-python"),
        *("posthog-react-native", "posthog-ruby", "posthog-rs", "posthog-rust", "posthog-server", "posthog-unity"),
    }
)
"""The client libraries that a metric tells apart. All other names are one label value, so labels are bounded."""

_EMPTY = Raw(b"{}")
_TOO_LARGE: Trouble = answers.EVENT_TOO_LARGE, f"the event is larger than {EVENT_BYTES_MAX} bytes"
_encode = msgspec.json.Encoder().encode
_encode_any = msgspec.json.Encoder(enc_hook=lambda digits: Raw(str(digits).encode())).encode  # of a Fraction


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
    """What the events of one request have in common. `sent_text` is `sent_ms` as the envelope writes it.
    `unreadable` is added to."""

    team: Team
    org: str | UnsetType
    now_ms: int
    ip: str | UnsetType
    sent_ms: int | None
    sent_text: str | UnsetType
    unreadable: list[str] = field(default_factory=list)  # a library for each timestamp that cannot be read


def arrival(team: Team, now_ms: int, ip: str, sent_ms: int | None) -> Arrival:
    """`sent_ms` is the client's clock when it sent the request, if it said so."""
    known_ms = sent_ms if sent_ms is not None and 0 <= sent_ms < END_MS else None
    text: str | UnsetType = UNSET if known_ms is None else text_of(known_ms)
    return Arrival(team, team.org or UNSET, now_ms, ip or UNSET, known_ms, text)


def captured(event: SentEvent | Unread, arrived: Arrival, entropy: Callable[[int], bytes]) -> bytes | Trouble:
    """The record's value, or the kind of trouble and a sentence. `entropy(n)`: n random bytes, for an event without
    a uuid."""
    if isinstance(event, Unread):
        return event
    name = event.event
    if type(name) is not str or not name:
        return answers.MISSING_EVENT_NAME, "event is missing or not a text"
    properties = event.properties
    if len(properties) > EVENT_BYTES_MAX:  # before anybody looks for something in it
        return _TOO_LARGE
    try:
        if event.person is not UNSAID or event.person_once is not UNSAID or not 4 < len(properties) < FLAT_MAX:
            properties = _unusual_properties(event)
        looked_for = read_properties(properties)
    except Broken as error:
        return answers.INVALID_EVENT, f"properties cannot be read: {error}"
    who = event.distinct_id
    if type(who) is not str or not 0 < len(who) <= CUT_AT or "\0" in who:
        who = _text(who) or _text(event.alias) or _text(looked_for.distinct_id)
        if not who:
            return answers.MISSING_DISTINCT_ID, "distinct_id is missing or empty"
    session: str | UnsetType = UNSET if looked_for.session is None else _text(looked_for.session) or UNSET
    now_ms, team = arrived.now_ms, arrived.team
    stated_ms = None
    if event.timestamp is not None and (stated_ms := read_ms(event.timestamp)) is None:
        arrived.unreadable.append(library(looked_for.lib))
    sent_ms = None if looked_for.ignore_sent_at is True else arrived.sent_ms
    at_ms = happened_ms(stated_ms, event.offset, sent_ms, now_ms)
    uuid = read_uuid(event.uuid) or new_uuid(now_ms, entropy(RANDOM_BYTES))
    name = name if len(name) <= CUT_AT else name[:CUT_AT]
    data = _Data(name, who, properties, arrived.ip, session, arrived.sent_text, uuid)
    made = id_of(uuid, team.key)
    value = _encode(_Envelope(SCHEMA, made, EVENT_CAPTURED, SOURCE, text_of(at_ms), team.id, arrived.org, data))
    if len(value) > EVENT_BYTES_MAX:
        return _TOO_LARGE
    return value


def _unusual_properties(event: SentEvent) -> Raw:
    """Missing, null, to be merged, or so long that they may be nested deeper than readers take."""
    properties = event.properties
    if event.person is not UNSAID or event.person_once is not UNSAID:
        properties = with_person(event)
    if len(properties) < FLAT_MAX:
        return properties if is_stated(properties) else _EMPTY
    look_over_properties(properties)
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
        value = _encode_any(value).decode()
    if "\0" in value:
        value = value.replace("\0", "\ufffd")  # databases behind us do not keep it
    text: str = value if len(value) <= CUT_AT else value[:CUT_AT]
    return text


def library(said: Any) -> str:
    """`$lib` of an event as a label."""
    if said is None:
        return NONE
    return said if type(said) is str and said in LIBRARIES else OTHER
