"""A body that is not JSON as a whole → the bytes of each event, so that one broken event does not lose the others.

Only brackets, strings and commas are looked at. Where an event ends is known as long as its quotes and brackets match;
when they do not, nothing is guessed: the body is refused as a whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

BRACKETS_MAX = 200_000  # in a body: 400 for each event of a full one. Looking at them takes a quarter of a second

_PLAIN = rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+'
_UP_TO_A_BRACKET = re.compile(_PLAIN + rb'([\[\]{}]|"|\Z)', re.DOTALL)
_UP_TO_A_COMMA = re.compile(_PLAIN.replace(rb'[^"', rb'[^",') + rb'([\[\]{},]|"|\Z)', re.DOTALL)
_BATCH = re.compile(rb'(?:[,\s]|\A)"batch"\s*:\s*\Z')
_SPACE = re.compile(rb"[ \t\r\n]*")


class Unclear(ValueError):
    """Where the events of a body end cannot be told. The text is a sentence."""


class Pieces(NamedTuple):
    """The bytes of the events, and what stands around them: an object with an empty batch; None around a list."""

    events: list[bytes]
    around: bytes | None


def pieces(raw: bytes, most: int) -> Pieces:
    """The events of a body, `most` of them at the most; the others are only looked over. Raises `Unclear`.

    The body is a list, an object with one `batch` that is a list, or one event. Commas without an event between them
    are passed over: no bytes are lost by it.
    """
    if raw.count(b"{") + raw.count(b"[") > BRACKETS_MAX:
        raise Unclear(f"a broken body with more than {BRACKETS_MAX} brackets is not taken apart")
    start = _after_space(raw, 0)
    end = _close(raw, start)
    if _after_space(raw, end) != len(raw):
        raise Unclear("something stands behind the JSON")
    if raw[start : start + 1] == b"[":
        return Pieces(_elements(raw, start, most), None)
    at = _batch(raw, start)
    if at is None:
        return Pieces([raw], raw)
    return Pieces(_elements(raw, at, most), raw[:at] + b"[]" + raw[_close(raw, at) :])


def _batch(raw: bytes, start: int) -> int | None:
    """Where the list of the only batch begins, of an object that begins at `start`. None: it is an event by itself."""
    found: list[int] = []
    at = start + 1
    while True:
        match = _UP_TO_A_BRACKET.match(raw, at)
        assert match is not None
        if match[1] == b"}":
            break
        at = match.start(1)
        if _BATCH.search(raw, max(match.start(), at - 64), at):
            found.append(at)
        at = _close(raw, at)
    if len(found) > 1 or (found and raw[found[0] : found[0] + 1] != b"["):
        raise Unclear("the body has more than one batch, or one that is no list")
    return found[0] if found else None


def _elements(raw: bytes, start: int, most: int) -> list[bytes]:
    """What stands between the commas of the list that begins at `start`."""
    found: list[bytes] = []
    begin = at = start + 1
    while True:
        match = _UP_TO_A_COMMA.match(raw, at)
        assert match is not None
        at = match.start(1)
        if match[1] in (b",", b"]"):
            one = raw[begin:at].strip(b" \t\r\n")
            if one and len(found) < most:
                found.append(one)
            if match[1] == b"]":
                return found
            begin = at = at + 1
        else:
            at = _close(raw, at)


def _close(raw: bytes, at: int) -> int:
    """Behind the bracket that closes the one at `at`."""
    open_: list[bytes] = []
    for match in _UP_TO_A_BRACKET.finditer(raw, at):
        token = match[1]
        if token == b"{":
            open_.append(b"}")
        elif token == b"[":
            open_.append(b"]")
        elif not open_ or token != open_.pop():
            break
        if not open_:
            return match.end()
    raise Unclear("quotes or brackets do not match")


def _after_space(raw: bytes, at: int) -> int:
    match = _SPACE.match(raw, at)
    assert match is not None
    return match.end()
