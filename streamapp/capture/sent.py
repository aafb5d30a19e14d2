"""What PostHog's clients send, read leniently: the JSON of a body → its events, with `properties` left as bytes.

One pass over the body. Only a body in which something is wrong is read a second time, event by event.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

UNSAID = Raw(b"")

# Half of a surrogate pair: a text cut in the middle of a letter. JavaScript writes it; no UTF-8 can hold it.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


class Fraction(str):
    """A number with a fraction, as its own digits: a text to whoever asks for digits, no text to the others."""

    __slots__ = ()


class SentEvent(Struct, gc=False):
    """One event as it came. Whatever may be of a wrong type is Any; fractions come as text with their own digits."""

    event: Any = None
    distinct_id: Any = None
    properties: Raw = UNSAID
    timestamp: Any = None
    uuid: Any = None
    offset: Any = None
    token: Any = None
    api_key: Any = None
    sent_at: Any = None
    alias: Any = field(default=None, name="$distinct_id")
    token_alias: Any = field(default=None, name="$token")
    person: Raw = field(default=UNSAID, name="$set")
    person_once: Raw = field(default=UNSAID, name="$set_once")


class SentBody(SentEvent):
    """An object: a batch if it has one, else a single event."""

    batch: list[SentEvent] | UnsetType | None = UNSET


class SentProperties(Struct, gc=False):
    """What capture looks for among the properties."""

    distinct_id: Any = None
    token: Any = None
    session: Any = field(default=None, name="$session_id")
    ignore_sent_at: Any = field(default=None, name="$ignore_sent_at")


class Sent(NamedTuple):
    """The events of a body, None for one that is no object, and what stands around them."""

    events: list[SentEvent | None]
    token: Any
    sent_at: Any


class _RawBatch(Struct):
    batch: list[Raw] | UnsetType | None = UNSET
    token: Any = None
    api_key: Any = None
    token_alias: Any = field(default=None, name="$token")
    sent_at: Any = None


_body = msgspec.json.Decoder(SentBody, float_hook=Fraction).decode
_events = msgspec.json.Decoder(list[SentEvent], float_hook=Fraction).decode
_event = msgspec.json.Decoder(SentEvent, float_hook=Fraction).decode
read_properties = msgspec.json.Decoder(SentProperties, float_hook=Fraction).decode
_raw_batch = msgspec.json.Decoder(_RawBatch, float_hook=Fraction).decode
_raw_list = msgspec.json.Decoder(list[Raw]).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode

Broken = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read(raw: bytes) -> tuple[bytes, Sent] | str:
    """The body, mended if need be, and its events; or, as the rest of a sentence, why it is not JSON."""
    try:
        # The parser skips over strings it is not asked for without a look at their UTF-8.
        if not raw.isascii():
            raw.decode()
        return raw, _read(raw)
    except Broken as error:
        problem = error
    try:
        mended = mend(raw)
        return mended, _read_each(mended)
    except Broken:
        return f"is not UTF-8 at byte {problem.start}" if isinstance(problem, UnicodeDecodeError) else str(problem)


def with_person(event: SentEvent) -> Raw:
    """The properties, with `$set` and `$set_once` that stand beside them moved in; those inside win."""
    properties = _fields(event.properties) if is_stated(event.properties) else {}
    for name, beside in (("$set", event.person), ("$set_once", event.person_once)):
        if is_stated(beside):
            inside = properties.get(name, UNSAID)
            merged = _fields(beside) | (_fields(inside) if is_stated(inside) else {})
            properties[name] = Raw(_encode(merged))
    return Raw(_encode(properties))


def is_stated(raw: Raw) -> bool:
    """Whether a field is there and not null."""
    return len(raw) > 0 and (len(raw) != 4 or bytes(raw) != b"null")


def raw_events(raw: bytes) -> list[Raw]:
    """The bytes of each event of a body that `read` could read."""
    if raw.lstrip()[:1] == b"[":
        return _raw_list(raw)
    batch = _raw_batch(raw).batch
    return [Raw(raw)] if batch is UNSET or batch is None else batch


def mend(raw: bytes) -> bytes:
    """Halves of surrogate pairs become U+FFFD, as a browser shows them."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], raw)


def _read(raw: bytes) -> Sent:
    if raw[:1] == b"[":
        return Sent(list(_events(raw)), None, None)
    body = _body(raw)
    token = body.api_key or body.token or body.token_alias
    if body.batch is UNSET or body.batch is None:
        return Sent([body], token, body.sent_at)
    return Sent(list(body.batch), token, body.sent_at)


def _read_each(raw: bytes) -> Sent:
    if not raw.isascii():
        raw.decode()
    events: list[SentEvent | None] = []
    for one in raw_events(raw):
        try:
            events.append(_event(one))
        except msgspec.ValidationError:
            events.append(None)
    if raw[:1] == b"[":
        return Sent(events, None, None)
    body = _raw_batch(raw)
    return Sent(events, body.api_key or body.token or body.token_alias, body.sent_at)
