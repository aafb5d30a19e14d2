"""What PostHog's clients send, read leniently: the JSON of a body → its events, with `properties` left as bytes.

One pass over the body. Only a body in which something is wrong is read a second time, event by event: what is wrong
with one of them is then its own affair.

Text that cannot be UTF-8 is mended, not refused: bytes that are none, and halves of surrogate pairs, become U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from streamapp.capture.reading.answers import INVALID_EVENT, MALFORMED_JSON, Kind
from streamapp.capture.reading.mend import mend
from streamapp.capture.reading.pieces import Unclear, pieces

UNSAID = Raw(b"")

FIELD_BYTES_MAX = 64 << 10  # of what is an id, a name or a moment, however it is written
_ESCAPED_LETTER = re.compile(rb"\\u00[67]")  # in a name: "b\\u0061tch" is one of "batch"
LARGE_BYTES = 256 << 10  # a smaller body costs little memory, whatever is in it


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
    lib: Any = field(default=None, name="$lib")
    session: Any = field(default=None, name="$session_id")
    ignore_sent_at: Any = field(default=None, name="$ignore_sent_at")


class Unread(NamedTuple):
    """An event that cannot be read: the kind of trouble, and a sentence about it."""

    kind: Kind
    error: str


class Sent(NamedTuple):
    """The events of a body, and what stands around them. `raws`: the events' own bytes, if they were taken apart."""

    events: list[SentEvent | Unread]
    token: Any
    sent_at: Any
    raws: list[bytes] | None = None


class _Counted(Struct, array_like=True):
    """A batch that is only counted: one is made for each field of this name, also for those that a later one hides."""

    made = 0

    def __post_init__(self) -> None:
        _Counted.made += 1


class _Batches(Struct):
    batch: _Counted | UnsetType | None = UNSET


class _Around(Struct):
    """What stands around the events of a batch."""

    event: Any = None
    token: Any = None
    api_key: Any = None
    token_alias: Any = field(default=None, name="$token")
    sent_at: Any = None


_body = msgspec.json.Decoder(SentBody, float_hook=Fraction).decode
_events = msgspec.json.Decoder(list[SentEvent], float_hook=Fraction).decode
_event = msgspec.json.Decoder(SentEvent, float_hook=Fraction).decode
read_properties = msgspec.json.Decoder(SentProperties, float_hook=Fraction).decode
_batches = msgspec.json.Decoder(_Batches).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=8)
def _first_of(most: int) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """Decoders that keep the first `most` elements of a list, or of a body's batch; the others are only looked over."""
    elements = msgspec.defstruct("Elements", [(f"at_{n}", Raw, UNSAID) for n in range(most)], array_like=True)
    batch = msgspec.defstruct("Batch", [("batch", elements | UnsetType | None, UNSET)], bases=(_Around,))
    return msgspec.json.Decoder(elements), msgspec.json.Decoder(batch, float_hook=Fraction)


def _raw(model: type[Struct]) -> Callable[[bytes], Struct]:
    """A decoder that leaves every field of the model as bytes, and the parts that are passed on out."""
    fields = [one for one in msgspec.structs.fields(model) if one.type is Any]
    named = [(one.name, Raw, field(default=UNSAID, name=one.encode_name)) for one in fields]
    return msgspec.json.Decoder(msgspec.defstruct("Unread", named)).decode


_raw_event, _raw_around, _raw_properties = _raw(SentEvent), _raw(_Around), _raw(SentProperties)


def _look_over(raw: bytes | Raw, unread: Callable[[bytes], Struct]) -> None:
    """Before a large object is read: a field that is read whole could take fifty times its bytes of memory."""
    if len(raw) < LARGE_BYTES:
        return
    found = unread(bytes(raw))
    if any(len(getattr(found, name)) > FIELD_BYTES_MAX for name in found.__struct_fields__):
        raise msgspec.ValidationError(f"a field is longer than {FIELD_BYTES_MAX} bytes")


Broken = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unclear)


def read(raw: bytes, most: int) -> Sent | str:
    """The events of a body; or, as the rest of a sentence, why it is not JSON.

    Of more than `most` events there may be only one more than that.
    """
    problem = ""  # the exception would keep this frame, and it the body, until somebody looks for cycles
    try:
        # The parser skips over strings it is not asked for without a look at their UTF-8.
        if not raw.isascii():
            raw.decode()
        if len(raw) < LARGE_BYTES:
            return _read(raw)
    except Broken as error:
        problem = _sentence(error)
    try:
        return _read_each(raw, most)
    except Broken as error:
        return problem or _sentence(error)


def _sentence(error: Exception) -> str:
    return f"is not UTF-8 at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)


def look_over_properties(raw: Raw) -> None:
    """To be called before `read_properties` of properties that may be large. Raises `Broken`."""
    _look_over(raw, _raw_properties)


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
    """Whether a field is there, and neither null nor `[]`: what PHP writes for a map without entries."""
    return len(raw) > 4 or (len(raw) > 0 and bytes(raw).translate(None, b" \t\r\n") not in (b"null", b"[]"))


def raw_events(raw: bytes, sent: Sent, most: int) -> list[bytes]:
    """The bytes of the first `most` events of a body that `read` could read, as they came."""
    return [bytes(one) for one in _split(raw, most)[0]] if sent.raws is None else sent.raws


def _split(raw: bytes, most: int) -> tuple[list[Raw], Any]:
    """The first events, and the body around them; None around a list."""
    as_list, as_batch = _first_of(most)
    if raw.lstrip()[:1] == b"[":
        return _elements(as_list.decode(raw)), None
    _look_over(raw, _raw_around)
    body = as_batch.decode(raw)
    return [Raw(raw)] if body.batch is UNSET or body.batch is None else _elements(body.batch), body


def _elements(kept: Any) -> list[Raw]:
    found: list[Raw] = []
    for name in kept.__struct_fields__:
        one = getattr(kept, name)
        if one is UNSAID:
            break
        found.append(one)
    return found


def _read(raw: bytes) -> Sent:
    if raw[:1] == b"[":
        return Sent(list(_events(raw)), None, None)
    body = _body(raw)
    token = body.api_key or body.token or body.token_alias
    if body.batch is UNSET or body.batch is None:
        return Sent([body], token, body.sent_at)
    _only_a_batch(raw, body.event)
    return Sent(list(body.batch), token, body.sent_at)


def _only_a_batch(raw: bytes, event: Any) -> None:
    """Refuse a body of which some events would not be read: with two batches, or with one and an event of its own."""
    if event is not None:
        raise Unclear("the body is an event and a batch at once")
    if raw.count(b'"batch"') == 1 and _ESCAPED_LETTER.search(raw) is None:
        return
    before = _Counted.made
    _batches(raw)
    if _Counted.made - before > 1:
        raise Unclear("the body has more than one batch")


def _read_each(raw: bytes, most: int) -> Sent:
    try:
        split, body = _split(raw, most + 1)
        raws = [bytes(one) for one in split]
        around: bytes | None = raw
    except Broken:
        found = pieces(raw, most + 1)
        raws, around = found.events, found.around
        body = None if around is None else _around(mend(around))
    events = [_each(one) for one in raws]
    if body is None:
        return Sent(events, None, None, raws)
    if body.batch is UNSET or body.batch is None:
        if isinstance(events[0], Unread):
            raise Unclear(events[0].error)
    else:
        _only_a_batch(around or b"", body.event)
    return Sent(events, body.api_key or body.token or body.token_alias, body.sent_at, raws)


def _around(raw: bytes) -> Any:
    _look_over(raw, _raw_around)
    return _first_of(0)[1].decode(raw)


def _each(raw: bytes) -> SentEvent | Unread:
    """One event by itself; mended, if that helps."""
    try:
        return _event_in(raw)
    except msgspec.ValidationError as error:
        return Unread(INVALID_EVENT, _about(error))
    except Broken:
        pass
    try:
        return _event_in(mend(raw))
    except msgspec.ValidationError as error:
        return Unread(INVALID_EVENT, _about(error))
    except Broken as error:
        return Unread(MALFORMED_JSON, f"the event is not JSON: {_sentence(error)}")


def _event_in(raw: bytes) -> SentEvent:
    if not raw.isascii():
        raw.decode()
    _look_over(raw, _raw_event)
    return _event(raw)


def _about(error: msgspec.ValidationError) -> str:
    text = str(error)
    return "the event is not an object" if text.startswith("Expected `object`") else text
