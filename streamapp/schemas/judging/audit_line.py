"""An audit record → its line in the archive: one JSON object, the same bytes for the same record, secrets masked.

    {"topic":…,"partition":…,"offset":…,"timestamp_ms":…,"key":…,"headers":[…],"event":{…}}

`timestamp_ms` is the record's. A key that is not UTF-8 stands as `key_b64`; headers are those of a dead letter. The
event keeps its bytes, unless it has a secret, or a line break between two of its tokens.

Two readers, as in `decode`: what the fast one takes is an event by the models, what it does not take they judge.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamapp.schemas.audit import TEXT_MAX
from streamapp.schemas.judging.decode import is_well_formed
from streamapp.schemas.judging.judge_audit import PYTHON_TYPE, judge_audit
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.judging.usage import Id, Name
from streamapp.schemas.values.mask import MASKED, is_secret, mask_in_text
from streamapp.schemas.values.mask_json import Rules, mask_tree, quoted, read, written
from streamapp.schemas.values.timestamp import parse_ms

Text = Annotated[str, Meta(max_length=TEXT_MAX)]

# A part of every name that may hold a secret, in lower case; an escape may spell anything.
_HINTS = (
    b"passw",
    b"passphrase",
    b"pwd",
    b"secret",
    b"token",
    b"authoriz",
    b"bearer",
    b"cookie",
    b"credential",
    b"key",
    b"pass",
    b"pin",
    b"otp",
    b"recovery",
    b"backup",
    b"dsn",
    b"jwt",
    b"mnemonic",
    b"phrase",
    b"connection",
    b"cv",
    b"sig",
    b"%",  # a name in a URL may be escaped
)
_IN_TEXT = (b"://", b"=", b'\\"', b"\\u")  # where a text may hold more than a person sees at once
_NO_HEADERS = b'"headers":[],"event":'
KEYS_MAX = 10_000  # orgs that are remembered as they are written
TYPES_MAX = 1_000  # types that have matched; a pattern costs more than to remember so many
_AUTH = re.compile(r"(?i)auth(?!oriz)")  # of itself no secret: `auth`, `oauth_provider`
# What such a name ends with when it is about a secret, and is not one: `token_type`, `password_changed_at`.
_ABOUT = frozenset(("at", "count", "id", "kind", "method", "name", "provider", "scope", "status", "type", "version"))
_LAST_WORD = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+|\d+)$")


class _Data(Struct, gc=False):
    user_id: Name
    email: Text | None = None
    method: Text | None = None
    provider: Text | None = None
    ip: Text | None = None
    user_agent: Text | None = None
    application: Text | None = None


class _Audit(Struct, gc=False, kw_only=True):
    schema: Literal["hanzo.stream.v1"]
    id: Id
    type: Name
    source: Name
    timestamp: str
    team_id: Name | None = None
    org_id: Name | None = None
    data: _Data


class _PlainData(_Data, gc=False, forbid_unknown_fields=True):
    pass


class _Plain(_Audit, gc=False, kw_only=True, forbid_unknown_fields=True):
    """An event with none but the fields of the sample, which hold no secret."""

    data: _PlainData


_types: set[str] = set()
_is_audit_type = re.compile(PYTHON_TYPE).search
_decode = msgspec.json.Decoder(_Audit).decode
_decode_plain = msgspec.json.Decoder(_Plain).decode


class Line(Struct, frozen=True, gc=False):
    """A record as it is archived: with its line break. `at_ms` is the event's time, `record_ms` the record's."""

    text: bytes
    at_ms: int
    record_ms: int


def audit_line(topic: str, partition: int, record: Any) -> Line | Rejected:
    """The line of a record, or why it cannot be one. Never raises. The reasons are those of `judge_audit`."""
    raw = record.value
    read = _fast(raw)
    if read is None:
        judged = judge_audit(raw)
        if isinstance(judged, Rejected):
            return judged
        read = judged.at_ms, False
    at_ms, plain = read
    event = mask_event(raw) if b"\n" in raw or b"\r" in raw or _may_hold_secret(raw, plain) else raw
    headers, stamp = _headers(record.headers) if record.headers else _NO_HEADERS, record.timestamp
    parts = _place(topic, partition), record.offset, stamp, _key(record.key), headers, event
    return Line(b'%b%d,"timestamp_ms":%d,%b%b%b}\n' % parts, at_ms, stamp)


def keeps_secret(name: str) -> bool:
    """Whether a field of this name holds what is not archived: `password`, `apiToken`, `client_secret`.

    A name that ends in what is told about a secret is none: `token_type`, `auth_method`, `password_changed_at`.
    """
    if not is_secret(_AUTH.sub("", name)):
        return False
    last = _LAST_WORD.search(name)
    return last is None or last[0].lower() not in _ABOUT


ARCHIVED = Rules(keeps_secret, lambda text: mask_in_text(text, keeps_secret), lambda name: name)
"""What is kept for good loses secrets alone: what cannot be parsed stays as it is, but for the URLs in it."""


def mask_event(raw: bytes) -> bytes:
    """JSON on one line, with every digit and every repeated key as written, and the secrets masked (decision 17):
    fields by their names, values beside the name of a field, pairs, parameters and user information of URLs, and all
    of these in JSON that stands inside of a text. `true`, `false` and `null` are no secrets. The event itself is no
    field beside its value: the type `iam.token.issued` says nothing about `data`."""
    masked, _ = mask_tree(read(raw), ARCHIVED, envelope=True)
    return written(masked).encode()


def _fast(raw: bytes | None) -> tuple[int, bool] | None:
    """The event's time, and whether it is plain. None: let the models decide."""
    if not raw:
        return None
    try:
        plain = True
        try:
            event: _Audit = _decode_plain(raw)
        except msgspec.ValidationError:
            event, plain = _decode(raw), False
        if event.type not in _types:
            if _is_audit_type(event.type) is None:
                return None
            _remember(event.type)
        if not is_well_formed(raw, event.id):
            return None
        at_ms = parse_ms(event.timestamp)
        return None if at_ms is None else (at_ms, plain)
    except Exception:
        return None  # whatever it was, the models decide


def _may_hold_secret(raw: bytes, plain: bool) -> bool:
    """Far too often rather than once too rarely. The fields of the sample hold secrets only inside of their texts."""
    if plain and not any(sign in raw for sign in _IN_TEXT):
        return False
    lower = raw.lower()
    return b"\\u" in raw or (b"://" in raw and b"@" in raw) or any(hint in lower for hint in _HINTS)


def _remember(type_: str) -> None:
    if len(_types) >= TYPES_MAX:
        _types.clear()
    _types.add(type_)


@lru_cache(maxsize=1_000)
def _place(topic: str, partition: int) -> bytes:
    return f'{{"topic":"{topic}","partition":{partition},"offset":'.encode()


@lru_cache(maxsize=KEYS_MAX)
def _key(key: bytes | None) -> bytes:
    if key is None:
        return b'"key":null,'
    try:
        return f'"key":{quoted(key.decode())},'.encode()
    except UnicodeDecodeError:
        return b'"key_b64":"%b",' % b64encode(key)


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    shown = [
        {
            "key": name,
            "value_b64": None
            if content is None
            else b64encode(MASKED.encode() if keeps_secret(name) else content).decode(),
        }
        for name, content in headers
    ]
    return b'"headers":%b,"event":' % json.dumps(shown, separators=(",", ":")).encode()
