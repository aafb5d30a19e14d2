"""One broken event of a body does not take the others along, and nothing of a body is passed over."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from capture_calls import TOKEN, InMemory, directory_in

GOOD = b'{"event":"good","distinct_id":"u1","properties":{}}'


@pytest.fixture
def capture(tmp_path: Path) -> InMemory:
    return InMemory(directory_in(tmp_path))


def bad(value: bytes) -> bytes:
    return b'{"event":"bad","distinct_id":"u2","properties":{"x":' + value + b"}}"


def batch(*events: bytes) -> bytes:
    return b'{"api_key":"' + TOKEN.encode() + b'","batch":[' + b",".join(events) + b"]}"


BROKEN = [
    *(b"NaN", b"-Infinity", b"Infinity", b'"a\tb"', b'"a\0b"', b'"a\nb"', rb'"\x41"', rb'"\u12"', b"01", b"+1", b"1."),
    *(b"0x1F", b"undefined", b"None", b"True", b"'a'", b"[1,]", b"[1 2]", b'{"a":1,}', b"{a:1}", b"/* no */ 1", b""),
    *(b"\xef\xbb\xbf1", b"\xff", b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000),
]


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("around", ["batch", "list"])
def test_one_broken_event_is_refused_by_itself(capture: InMemory, value: bytes, around: str) -> None:
    token = b'{"token":"' + TOKEN.encode() + b'",' + GOOD[1:]
    body = batch(GOOD, bad(value), GOOD) if around == "batch" else b"[" + b",".join([token, bad(value), token]) + b"]"
    reply = capture.call(body, path="/batch/")
    assert reply.status == 200
    assert [(one["index"], one["slug"]) for one in reply.json["refused"]] == [(1, "malformed_json")]
    assert [event["data"]["event"] for event in capture.events()] == ["good", "good"]
    assert capture.letters() == [("malformed_json", bad(value))]


@pytest.mark.parametrize("value", [b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\xc3"', rb'"\ud800"', rb'"a\udc00"'])
def test_text_that_no_utf8_can_hold_is_mended(capture: InMemory, value: bytes) -> None:
    assert capture.call(batch(GOOD, bad(value), GOOD)).json == {"status": 1}
    assert "\ufffd" in capture.events()[1]["data"]["properties"]["x"]
    assert capture.letters() == []


@pytest.mark.parametrize(
    "body",
    [
        batch(bad(b'"open'), GOOD),  # where it ends nobody can tell
        batch(bad(b"[1}"), GOOD),
        batch(GOOD) + batch(GOOD),
        batch(GOOD) + b"\n" + batch(GOOD),
        batch(GOOD) + b"]",
        batch(GOOD)[:-1],
        batch(GOOD)[:-1] + b',"batch":[' + GOOD + b"]}",
        batch(GOOD)[:-1] + rb',"b\u0061tch":[' + GOOD + b"]}",
        batch(GOOD, bad(b"NaN"))[:-1] + b',"batch":[' + GOOD + b"]}",
        batch(GOOD)[:-1] + b',"event":"another","distinct_id":"u"}',
    ],
)
def test_what_cannot_be_told_apart_is_refused_as_a_whole(capture: InMemory, body: bytes) -> None:
    assert capture.call(body).status == 400
    assert capture.events() == []
    assert [raw for _, raw in capture.letters()] == [body]


def test_commas_without_an_event_between_them_lose_nothing(capture: InMemory) -> None:
    assert capture.call(batch(GOOD, b"", GOOD, b"")).json == {"status": 1}
    assert len(capture.events()) == 2


def test_a_large_body_with_a_broken_event(capture: InMemory) -> None:
    long = b'{"event":"long","distinct_id":"u","properties":{"x":"' + b"x" * 400_000 + b'"}}'
    reply = capture.call(batch(long, bad(b"NaN"), long))
    assert [one["index"] for one in reply.json["refused"]] == [1]
    assert len(capture.events()) == 2


def test_a_body_of_brackets_is_not_taken_apart(capture: InMemory) -> None:
    assert capture.call(batch(b"[" * 300_000 + b"NaN" + b"]" * 300_000)).status == 400


MEMBER = gzip.compress(batch(GOOD), mtime=0)


@pytest.mark.parametrize("cuts", [(10,), (1, 2, 60), ()])
def test_all_members_of_a_gzip_stream_are_one_body(capture: InMemory, cuts: tuple[int, ...]) -> None:
    body, at = batch(GOOD, GOOD), [0, *cuts, None]
    members = b"".join(gzip.compress(body[a:b], mtime=0) for a, b in pairwise(at))
    assert capture.call(members + b"\0" * 700).json == {"status": 1}
    assert len(capture.events()) == 2


@pytest.mark.parametrize(
    "behind", [MEMBER, b"x", b"\0\0x", b"\x1f\x8b", MEMBER[:-1], MEMBER[:-5] + b"12345", batch(GOOD), b"\n"]
)
def test_what_is_behind_a_gzip_stream_is_never_thrown_away(capture: InMemory, behind: bytes) -> None:
    for body in (MEMBER + behind, b64encode(MEMBER + behind), urlencode({"data": b64encode(MEMBER + behind)}).encode()):
        assert capture.call(body).status == 400
    assert capture.events() == []


def test_members_are_bounded_together(capture: InMemory) -> None:
    space = gzip.compress(b" " * (1 << 20), mtime=0)
    assert capture.call(space * 21).status == 413
    assert capture.call(gzip.compress(b"", mtime=0) * 10_001).status == 400


def test_data_that_is_said_twice_is_refused(capture: InMemory) -> None:
    one = urlencode({"data": batch(GOOD)})
    assert capture.call(f"{one}&{one}".encode()).status == 400
    assert capture.call(f"{one}&".encode() + GOOD).status == 400
    assert capture.call(batch(GOOD), data=batch(GOOD).decode()).status == 400
    assert capture.events() == []


@pytest.mark.parametrize("empty", ["[]", "[ ]", "null"])
def test_an_empty_list_is_the_empty_map_of_php(capture: InMemory, empty: str) -> None:
    event = '{"event":"p","distinct_id":"u","properties":@,"$set":@,"$set_once":@}'.replace("@", empty)
    assert capture.call(batch(event.encode(), b'{"event":"$identify","distinct_id":"u","$set":[]}')).json == {
        "status": 1
    }
    assert [event["data"]["properties"] for event in capture.events()] == [{}, {}]
    inside = {"event": "p", "distinct_id": "u", "properties": {"$set": []}, "$set": {"n": 1}}
    assert capture.call(batch(json.dumps(inside).encode())).json == {"status": 1}
    assert capture.events()[-1]["data"]["properties"] == {"$set": {"n": 1}}
