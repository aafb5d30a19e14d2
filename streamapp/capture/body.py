"""A request's bytes → the JSON inside. Clients wrap it in gzip, base64 and forms, and often do not say so.

What the bytes are decides, not what a header claims: gzip by its first two bytes, JSON by its first letter, a form by
its field `data`, and base64 is what is left. Nothing unpacks to more than `limit` bytes.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import NamedTuple
from urllib.parse import parse_qsl

from isal import isal_zlib

from streamapp.capture.answers import BODY_TOO_LARGE, EMPTY_BODY, UNREADABLE_BODY, Refusal

WRAPPINGS_MAX = 3  # a form of base64 of gzip is the deepest that any client makes
FIELDS_MAX = 100  # of a form; the clients send three
GZIP = b"\x1f\x8b"
GZIP_WINDOW = 31  # zlib's number for "gzip, any window"
BOM = b"\xef\xbb\xbf"

_FORM = re.compile(rb"(?:^|&)data=")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_SPACE = b" \t\r\n"
_TO_URLSAFE = bytes.maketrans(b"+/ ", b"-_-")  # a form turns + into a space


class Unwrapped(NamedTuple):
    """The JSON, and what the form around it said besides."""

    json: bytes
    fields: dict[str, str]


def unwrap(raw: bytes, limit: int) -> Unwrapped | Refusal:
    """The JSON in a body, or why it cannot be had. Never raises."""
    fields: dict[str, str] = {}
    inner = raw
    for _ in range(WRAPPINGS_MAX + 1):
        first = inner[:1]
        if first == b"{" or first == b"[":
            return Unwrapped(inner, fields)
        if inner[:2] == GZIP:
            unpacked = gunzip(inner, limit)
            if isinstance(unpacked, Refusal):
                return unpacked
            inner = unpacked
            continue
        inner = inner.removeprefix(BOM).strip(_SPACE)
        if not inner:
            return Refusal(EMPTY_BODY)
        if inner[:1] in (b"{", b"[") or inner[:2] == GZIP:
            continue
        if _FORM.search(inner, 0, 10_000):
            fields |= _form(inner)
            inner = fields.pop("data", "").encode("latin-1", "replace")
            continue
        decoded = _base64(inner)
        if decoded is None:
            return Refusal(UNREADABLE_BODY, "the body is neither JSON nor gzip, base64 or a form with a field data")
        inner = decoded
    return Refusal(UNREADABLE_BODY, f"the body is wrapped more than {WRAPPINGS_MAX} times")


def gunzip(raw: bytes, limit: int) -> bytes | Refusal:
    """Unpacked, but never more than `limit` bytes; what follows the first member is ignored."""
    stream = isal_zlib.decompressobj(GZIP_WINDOW)
    try:
        unpacked: bytes = stream.decompress(raw, limit + 1)
    except Exception as error:  # the library's own, which its stubs do not name
        return Refusal(UNREADABLE_BODY, f"the gzip data is broken: {error}")
    if len(unpacked) > limit:
        return Refusal(BODY_TOO_LARGE, f"unpacked, the body is larger than {limit} bytes")
    if not stream.eof:
        return Refusal(UNREADABLE_BODY, "the gzip data ends too early")
    return unpacked


def _form(raw: bytes) -> dict[str, str]:
    try:
        # Latin-1 both ways keeps every byte; percent signs are decoded to the bytes they stand for.
        return dict(parse_qsl(raw.decode("latin-1"), encoding="latin-1", max_num_fields=FIELDS_MAX))
    except ValueError:
        return {}


def _base64(raw: bytes) -> bytes | None:
    letters = raw.translate(_TO_URLSAFE, b"\r\n\t")
    if not _BASE64.fullmatch(letters):
        return None
    try:
        return urlsafe_b64decode(letters.rstrip(b"=") + b"=" * (-len(letters.rstrip(b"=")) % 4))
    except ValueError:
        return None
