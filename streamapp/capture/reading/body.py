"""A request's bytes → the JSON inside. Clients wrap it in gzip, base64 and forms, and often do not say so.

What the bytes are decides, not what a header claims: gzip by its first two bytes, JSON by its first letter, a form
by its field `data`, and base64 is what is left. Nothing unpacks to more than `limit` bytes.

Every byte of a body is read, or the body is refused: nothing that follows what was understood is passed over.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import NamedTuple
from urllib.parse import parse_qsl

from isal import isal_zlib

from streamapp.capture.reading.answers import BODY_TOO_LARGE, EMPTY_BODY, UNREADABLE_BODY, Refusal

WRAPPINGS_MAX = 3  # a form of base64 of gzip is the deepest that any client makes
FIELDS_MAX = 100  # of a form; the clients send three
MEMBERS_MAX = 10_000  # of a gzip stream; a member for each event of a full body is far fewer
PIECE_BYTES = 64 << 10  # what is copied at most to find a member's end
GZIP = b"\x1f\x8b"
GZIP_WINDOW = 31  # zlib's number for "gzip, any window"
BOM = b"\xef\xbb\xbf"

_FORM = re.compile(rb"(?:^|&)data=")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_PADDING = re.compile(rb"\0*")
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
            form = form_fields(inner.decode("latin-1"))
            if form is None or not all(b"=" in field for field in inner.split(b"&") if field):
                return Refusal(UNREADABLE_BODY, "the form cannot be read, or it has two fields data")
            inner = form.pop("data").encode("latin-1")
            fields |= form
            continue
        decoded = _base64(inner)
        if decoded is None:
            return Refusal(UNREADABLE_BODY, "the body is neither JSON nor gzip, base64 or a form with a field data")
        inner = decoded
    return Refusal(UNREADABLE_BODY, f"the body is wrapped more than {WRAPPINGS_MAX} times")


def gunzip(raw: bytes, limit: int) -> bytes | Refusal:
    """All members of a gzip stream unpacked (RFC 1952, 2.2), together never more than `limit` bytes.

    Zeros behind a member are padding. Anything else behind it, and a member that is not complete, is an error.
    """
    stream = isal_zlib.decompressobj(GZIP_WINDOW)
    try:
        unpacked: bytes = stream.decompress(raw, limit + 1)
        if len(unpacked) > limit:
            return Refusal(BODY_TOO_LARGE, f"unpacked, the body is larger than {limit} bytes")
        if not stream.eof:
            return Refusal(UNREADABLE_BODY, "the gzip data ends too early")
        return _with_members(unpacked, stream.unused_data, limit) if stream.unused_data else unpacked
    except Exception as error:  # the library's own, which its stubs do not name
        return Refusal(UNREADABLE_BODY, f"the gzip data is broken: {error}")


def _with_members(first: bytes, rest: bytes, limit: int) -> bytes | Refusal:
    """The first member's content, and that of the members behind it. Raises the library's own error."""
    parts, held, view, at = [first], len(first), memoryview(rest), 0
    while (at := _PADDING.match(rest, at).end()) < len(rest):  # type: ignore[union-attr]  # it matches everywhere
        if not rest.startswith(GZIP, at):
            return Refusal(UNREADABLE_BODY, "something that is no gzip data stands behind the gzip data")
        if len(parts) == MEMBERS_MAX:
            return Refusal(UNREADABLE_BODY, f"the gzip data has more than {MEMBERS_MAX} members")
        stream, size = isal_zlib.decompressobj(GZIP_WINDOW), 512
        while not stream.eof:
            if at == len(rest):
                return Refusal(UNREADABLE_BODY, "the gzip data ends too early")
            piece = view[at : at + size]
            part = stream.decompress(piece, limit + 1 - held)
            held += len(part)
            if held > limit:
                return Refusal(BODY_TOO_LARGE, f"unpacked, the body is larger than {limit} bytes")
            parts.append(part)
            at += len(piece) - len(stream.unused_data)
            size = min(2 * size, PIECE_BYTES)
    return b"".join(parts)


def form_fields(raw: str) -> dict[str, str] | None:
    """The fields of a form or a query, their bytes as Latin-1. None when it is no form, or says its data twice."""
    try:
        # Latin-1 both ways keeps every byte; percent signs are decoded to the bytes they stand for.
        pairs = parse_qsl(raw, keep_blank_values=True, encoding="latin-1", max_num_fields=FIELDS_MAX)
    except ValueError:
        return None
    fields = dict(pairs)
    return None if "data" in fields and sum(name == "data" for name, _ in pairs) > 1 else fields


def _base64(raw: bytes) -> bytes | None:
    letters = raw.translate(_TO_URLSAFE, b"\r\n\t")
    if not _BASE64.fullmatch(letters):
        return None
    try:
        return urlsafe_b64decode(letters.rstrip(b"=") + b"=" * (-len(letters.rstrip(b"=")) % 4))
    except ValueError:
        return None
