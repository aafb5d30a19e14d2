"""The JSON in a request's bytes, however it is wrapped, and never more of it than allowed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, urlencode

import pytest

from streamapp.capture.reading.answers import Refusal
from streamapp.capture.reading.body import Unwrapped, unwrap

LIMIT = 20 << 20
EVENT = json.dumps({"event": "Öffnen ~ subjects?", "distinct_id": "ÿ>>?", "properties": {"a": 1.10}}).encode()
ZIPPED = gzip.compress(EVENT, mtime=0)


def inside(raw: bytes) -> bytes:
    found = unwrap(raw, LIMIT)
    assert isinstance(found, Unwrapped), found
    return found.json


def problem(raw: bytes, limit: int = LIMIT) -> tuple[int, str]:
    found = unwrap(raw, limit)
    assert isinstance(found, Refusal), found
    return found.kind.status, found.kind.slug


@pytest.mark.parametrize(
    "raw",
    [
        EVENT,
        b" \r\n\t" + EVENT,
        b"\xef\xbb\xbf" + EVENT,
        ZIPPED,
        b64encode(EVENT),
        b64encode(EVENT).rstrip(b"="),
        urlsafe_b64encode(EVENT),
        b64encode(ZIPPED),
        b"\n".join([b64encode(EVENT)[:60], b64encode(EVENT)[60:]]),
        b"data=" + quote(EVENT).encode(),
        b"data=" + EVENT,
        urlencode({"data": b64encode(EVENT)}).encode(),
        b"data=" + b64encode(EVENT),  # a + that nobody escaped
        urlencode({"data": b64encode(ZIPPED), "ver": "1.2.3"}).encode(),
        urlencode({"ver": "1.2.3", "compression": "base64", "data": b64encode(EVENT)}).encode(),
        gzip.compress(b64encode(EVENT), mtime=0),
        gzip.compress(urlencode({"data": EVENT}).encode(), mtime=0),
        ZIPPED + b"\0\0\0",
    ],
)
def test_every_wrapping_is_undone(raw: bytes) -> None:
    assert inside(raw) == EVENT


def test_a_form_tells_what_stands_beside_the_data() -> None:
    found = unwrap(urlencode({"data": EVENT, "api_key": "ha_ö", "_": "17"}).encode(), LIMIT)
    assert isinstance(found, Unwrapped)
    assert found.fields["_"] == "17"
    assert set(found.fields) == {"api_key", "_"}


@pytest.mark.parametrize(
    ("raw", "slug"),
    [
        (b"", "empty_value"),
        (b"  \n", "empty_value"),
        (b"data=", "empty_value"),
        (gzip.compress(b"", mtime=0), "empty_value"),
        (b"not JSON!", "unreadable_body"),
        (b"\x1f\x8b", "unreadable_body"),
        (ZIPPED[:-9], "unreadable_body"),
        (ZIPPED[:10] + b"\xff" * 20, "unreadable_body"),
        (b"\x1f\x8bxxxxxxxxxxxxxxxxxxxxxx", "unreadable_body"),
        (zlib.compress(EVENT), "unreadable_body"),
        (b"\xff\xfe\x00", "unreadable_body"),
        (b"abcde", "unreadable_body"),  # one dead letter too many for base64
        (b64encode(b64encode(b64encode(b64encode(EVENT)))), "unreadable_body"),
    ],
)
def test_what_cannot_be_undone_says_so(raw: bytes, slug: str) -> None:
    assert problem(raw) == (400, slug)


def test_nothing_unpacks_to_more_than_the_limit() -> None:
    assert inside(gzip.compress(b"{" + b" " * (LIMIT - 1)))[:1] == b"{"
    assert problem(gzip.compress(b"{" + b" " * LIMIT)) == (413, "body_too_large")
    assert problem(b64encode(gzip.compress(b" " * 2_000)), limit=1_000) == (413, "body_too_large")


def test_a_bomb_is_refused_before_it_costs_memory() -> None:
    bomb = gzip.compress(b"\0" * (100 << 20), 9)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        assert problem(bomb) == (413, "body_too_large")
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()
