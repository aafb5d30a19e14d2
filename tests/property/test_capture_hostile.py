"""Whatever bytes come: an answer, never a defect; what is accepted is in Kafka once, what is refused is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from capture_bodies import EVENTS, JSON, hostile
from capture_calls import TOKEN, InMemory, directory_in
from hypothesis import given
from hypothesis import strategies as st
from searches import search

from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.dead_letter import EventRejected
from streamapp.schemas.values.strict_json import parse

DIRECTORY = directory_in(Path(tempfile.mkdtemp(prefix="capture-")))


@search(500)
@given(
    body=hostile(),
    query=st.dictionaries(st.sampled_from(["_", "beacon", "data", "sent_at", "compression"]), st.text(max_size=20)),
)
def test_any_bytes_are_answered_and_nothing_is_lost(body: bytes, query: dict[str, str]) -> None:
    capture = InMemory(DIRECTORY, unknown_letters_per_second=1e9)
    reply = capture.call(body, **query)
    assert reply.status in {200, 204, 400, 401, 413}, reply.body
    events, letters = capture.events(), capture.letters()
    for topic, _, value in capture.pipeline.written:
        (EventCaptured if topic == "events_plugin_ingestion" else EventRejected).model_validate(parse(value)[0])
    assert len({event["id"] for event in events}) >= min(1, len(events))
    if reply.status in {200, 204}:
        assert events
        if reply.status == 200:
            assert len(letters) == len(reply.json.get("refused", []))
    else:
        assert events == []
        assert bool(letters) == (reply.status == 400), reply.body


@search(200)
@given(events=st.lists(EVENTS | JSON, min_size=1, max_size=8))
def test_every_event_of_a_batch_is_taken_or_refused_by_name(events: list[Any]) -> None:
    capture = InMemory(DIRECTORY)
    reply = capture.call({"api_key": TOKEN, "batch": events})
    taken, letters = capture.events(), capture.letters()
    assert len(taken) + len(letters) == len(events)
    refused = [one["index"] for one in reply.json.get("refused", [])] or ([0] if reply.status == 400 else [])
    assert len(refused) == len(letters)
    assert reply.status == (200 if taken else 400)
    # The order of a team is kept: what was taken stands in the topic as it stood in the body.
    names = [event["event"][:200] for number, event in enumerate(events) if number not in refused]
    assert [event["data"]["event"] for event in taken] == [mended(name) for name in names]


ODD = st.sampled_from(
    [
        b"1",
        b"NaN",
        b'"\t"',
        b'"\xff"',
        rb'"\ud800"',
        rb'"\x"',
        b"[1,]",
        b"01",
        b'"open',
        b"[1}",
        b"}",
        b"]",
        b'"',
        b"\0",
    ]
)
BEHIND = st.sampled_from([b"", b" \n", b"\0\0", b"junk", b"{}", b"]", b"&x", b"=", b"\xef\xbb\xbf"])


@st.composite
def marked(draw: st.DrawFn) -> tuple[bytes, list[bytes], bool]:
    """A body, the names that its events have, and whether junk stands behind it."""
    values = draw(st.lists(ODD | st.just(b"1"), min_size=1, max_size=5))
    names = [b"e%d." % number for number in range(len(values) + 1)]
    events = [
        b'{"event":"%s","distinct_id":"d","token":"%s","properties":{"x":%s}}' % (name, TOKEN.encode(), value)
        for name, value in zip(names, [*values, b"1"], strict=True)
    ]
    joined = b",".join(events[:-1])
    body = draw(st.sampled_from([b"[%s]", b'{"api_key":"' + TOKEN.encode() + b'","batch":[%s]}'])) % joined
    other = b"[%s]" % events[-1]
    behind, again = draw(BEHIND), draw(st.sampled_from(["", "inside", "member", "form"]))
    names = names if again else names[:-1]
    raw = body + behind + (other if again == "inside" else b"")
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
    places = [0, *cuts, len(raw)]
    zipped = b"".join(gzip.compress(raw[a:b], mtime=0) for a, b in pairwise(places))
    if again == "member":
        zipped += draw(st.sampled_from([b"", b"\0\0", b"x"])) + gzip.compress(other, mtime=0)
        raw = raw + other
    wrapped = draw(st.sampled_from([raw, zipped, b64encode(raw), b64encode(zipped), urlencode({"data": raw}).encode()]))
    if again == "form":
        wrapped = urlencode([("data", b64encode(raw)), ("data", other)]).encode()
    junk = draw(st.sampled_from([b"", b"junk!", b"{}", b"&{}"]))
    return wrapped + junk, names, junk != b""


@search(1_000)
@given(body=marked())
def test_bytes_accepted_are_bytes_read(body: tuple[bytes, list[bytes], bool]) -> None:
    raw, names, junk = body
    capture = InMemory(DIRECTORY, unknown_letters_per_second=1e9)
    reply = capture.call(raw)
    if reply.status == 400:
        assert capture.events() == []
        assert capture.letters()
        return
    assert reply.status in {200, 401}
    if reply.status == 200:
        assert not junk
        kept = [json.dumps(event).encode() for event in capture.events()] + [bytes_ for _, bytes_ in capture.letters()]
        assert len(capture.letters()) == len(reply.json.get("refused", []))
        assert all(sum(name in one for one in kept) == 1 for name in names), (raw, kept)


def mended(text: str) -> str:
    """Halves of surrogate pairs, as capture writes them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@search(200)
@given(body=hostile(), cuts=st.lists(st.integers(0, 400), max_size=5), gone=st.booleans())
def test_any_pieces_are_one_body(body: bytes, cuts: list[int], gone: bool) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    whole, cut = InMemory(DIRECTORY), InMemory(DIRECTORY)
    reply = asyncio.run(cut.ask(*pieces, gone=gone))
    if gone:
        assert reply is None
        assert cut.pipeline.written == []
    else:
        assert reply == whole.call(body)
        assert cut.pipeline.written == whole.pipeline.written
