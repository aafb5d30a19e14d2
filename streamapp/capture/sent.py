"""What PostHog's clients send, read leniently: the JSON of a body → its events, with `properties` left as bytes.

One pass over the body. Only a body in which something is wrong is read a second time, event by event.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

UNSAID = Raw(b"")

# Half of a surrogate pair: a text cut in the middle of a letter. JavaScript writes it; no UTF-8 can hold it.
# One match is all that is whole, and the half behind it: as many steps as there are halves, whatever the bytes are.
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UP_TO_A_HALF = re.compile(rb"((?:[^\\]++|" + _PAIR + rb"|(?!" + _HALF + rb")\\.)*+)(" + _HALF + rb")?", re.DOTALL)
HALVES_MAX = 10_000  # texts that were cut; what has more of them is no text
FIELD_BYTES_MAX = 64 << 10  # of what is an id, a name or a moment, however it is written
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
    session: Any = field(default=None, name="$session_id")
    ignore_sent_at: Any = field(default=None, name="$ignore_sent_at")


class Sent(NamedTuple):
    """The events of a body, None for one that is no object, and what stands around them."""

    events: list[SentEvent | None]
    token: Any
    sent_at: Any


class _Around(Struct):
    """What stands around the events of a batch."""

    token: Any = None
    api_key: Any = None
    token_alias: Any = field(default=None, name="$token")
    sent_at: Any = None


_body = msgspec.json.Decoder(SentBody, float_hook=Fraction).decode
_events = msgspec.json.Decoder(list[SentEvent], float_hook=Fraction).decode
_event = msgspec.json.Decoder(SentEvent, float_hook=Fraction).decode
read_properties = msgspec.json.Decoder(SentProperties, float_hook=Fraction).decode
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


Broken = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read(raw: bytes, most: int) -> tuple[bytes, Sent] | str:
    """The body, mended if need be, and its events; or, as the rest of a sentence, why it is not JSON.

    Of more than `most` events there may be only one more than that.
    """
    problem = ""  # the exception would keep this frame, and it the body, until somebody looks for cycles
    try:
        # The parser skips over strings it is not asked for without a look at their UTF-8.
        if not raw.isascii():
            raw.decode()
        if len(raw) < LARGE_BYTES:
            return raw, _read(raw)
    except Broken as error:
        problem = _sentence(error)
    try:
        mended = mend(raw)
        return mended, _read_each(mended, most)
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
    """Whether a field is there and not null."""
    return len(raw) > 0 and (len(raw) != 4 or bytes(raw) != b"null")


def raw_events(raw: bytes, most: int) -> list[Raw]:
    """The bytes of the first `most` events of a body that `read` could read."""
    return _split(raw, most)[0]


def mend(raw: bytes) -> bytes:
    """Halves of surrogate pairs become U+FFFD, as a browser shows them; the first `HALVES_MAX` do."""
    return _UP_TO_A_HALF.sub(lambda match: match[1] + (rb"\ufffd" if match[2] else b""), raw, HALVES_MAX)


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
    return Sent(list(body.batch), token, body.sent_at)


def _read_each(raw: bytes, most: int) -> Sent:
    if not raw.isascii():
        raw.decode()
    raws, body = _split(raw, most + 1)
    events: list[SentEvent | None] = []
    for one in raws:
        try:
            _look_over(one, _raw_event)
            events.append(_event(one))
        except msgspec.ValidationError:
            events.append(None)
    if body is None:
        return Sent(events, None, None)
    return Sent(events, body.api_key or body.token or body.token_alias, body.sent_at)
