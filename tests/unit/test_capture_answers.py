"""Each kind of trouble and its status; nothing that was refused is lost."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from capture_calls import DIRECTORY, NOW_MS, OTHER_TOKEN, TOKEN, InMemory, directory_in
from memory_pipeline import MemoryPipeline

from streamapp.capture.intake import Ask
from streamapp.capture.reading.answers import KINDS, RETRIED
from streamapp.directory.teams import EmptyDirectory
from streamapp.schemas.dead_letter import EventRejected
from streamapp.schemas.values.strict_json import parse

GOOD = {"event": "e", "distinct_id": "d"}
SINGLE = {"api_key": TOKEN, **GOOD}


@pytest.fixture
def capture(tmp_path: Path) -> InMemory:
    return InMemory(directory_in(tmp_path))


def batch(*events: Any, **fields: Any) -> dict[str, Any]:
    return {"api_key": TOKEN, "batch": list(events), **fields}


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"", "empty_value"),
        (b"[]", "token_missing"),
        (batch(), "empty_value"),
        (b"{", "malformed_json"),
        (b'{"event": NaN}', "malformed_json"),
        (b"[[[", "malformed_json"),
        (b'{"batch": 5}', "malformed_json"),
        (b"nothing of the kind", "unreadable_body"),
        (gzip.compress(b"{}", mtime=0)[:12], "unreadable_body"),
        (batch(*[GOOD] * 501), "too_many_events"),
        ({"api_key": TOKEN, "distinct_id": "d"}, "missing_event_name"),
        ({"api_key": TOKEN, "distinct_id": "d", "event": ""}, "missing_event_name"),
        ({"api_key": TOKEN, "distinct_id": "d", "event": 5}, "missing_event_name"),
        ({"api_key": TOKEN, "distinct_id": "d", "event": 0.5}, "missing_event_name"),
        ({"api_key": TOKEN, "event": "e"}, "missing_distinct_id"),
        ({**SINGLE, "properties": "text"}, "invalid_data"),
        ({**SINGLE, "properties": [1]}, "invalid_data"),
        ({**SINGLE, "$set": 5}, "invalid_data"),
        ({**SINGLE, "properties": {"a": "x" * 900_000}}, "event_too_large"),
        (b'{"api_key":"%s","event":"e","distinct_id":"d","properties":{"a":%s1%s}}'
         % (TOKEN.encode(), b"[" * 500, b"]" * 500), "invalid_data"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_400_and_a_letter_keeps_its_bytes(capture: InMemory, body: Any, slug: str) -> None:
    reply = capture.call(body)
    said = reply.json
    assert (reply.status, said["status"], said["slug"]) == (401 if slug == "token_missing" else 400, 0, slug)
    assert said["error"]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert capture.events() == []
    assert capture.letters() == ([] if reply.status == 401 else [(slug, raw)])


def test_a_letter_is_as_the_contract_says(capture: InMemory) -> None:
    capture.call({"api_key": TOKEN, "event": "e"})
    ((topic, key, value),) = capture.pipeline.written
    assert (topic, key) == ("dead_letter", b"events_plugin_ingestion")
    letter = EventRejected.model_validate(parse(value)[0])
    assert (letter.source, letter.data.producer, letter.data.source_topic) == (
        "insights-capture",
        "insights-capture",
        "events_plugin_ingestion",
    )


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (GOOD, "token_missing"),
        ({**GOOD, "api_key": ""}, "token_missing"),
        ({**GOOD, "api_key": 5}, "token_missing"),
        ({**GOOD, "api_key": "ha_unknown"}, "token_unknown"),
        ({**GOOD, "api_key": "ü" * 10}, "token_unknown"),
        ({**GOOD, "api_key": "x" * 10_000}, "token_unknown"),
        ({**GOOD, "api_key": "phx_personal"}, "token_personal"),
        ([{**GOOD, "token": TOKEN}, {**GOOD, "token": OTHER_TOKEN}], "tokens_differ"),
    ],
)
def test_without_a_token_nothing_is_kept(capture: InMemory, body: Any, slug: str) -> None:
    reply = capture.call(body)
    assert (reply.status, reply.json["slug"]) == (401, slug)
    assert capture.pipeline.written == []


def test_one_bad_event_does_not_lose_the_others(capture: InMemory) -> None:
    events: list[Any] = [GOOD, {"event": "e"}, 5, None, {**GOOD, "event": "last"}, {"distinct_id": "d"}]
    reply = capture.call(batch(*events))
    assert reply.status == 200
    assert reply.json == {
        "status": 1,
        "refused": [
            {"index": 1, "slug": "missing_distinct_id", "error": "distinct_id is missing or empty"},
            {"index": 2, "slug": "invalid_data", "error": "the event is not an object"},
            {"index": 3, "slug": "invalid_data", "error": "the event is not an object"},
            {"index": 5, "slug": "missing_event_name", "error": "event is missing or not a text"},
        ],
    }
    assert [event["data"]["event"] for event in capture.events()] == ["e", "last"]
    assert [raw for _, raw in capture.letters()] == [b'{"event": "e"}', b"5", b"null", b'{"distinct_id": "d"}']


def test_a_batch_of_bad_events_is_400_and_names_each(capture: InMemory) -> None:
    reply = capture.call([{"event": "e", "token": TOKEN}, {"token": TOKEN, "distinct_id": "d"}])
    assert (reply.status, [one["index"] for one in reply.json["refused"]]) == (400, [0, 1])
    assert len(capture.letters()) == 2


def test_500_events_are_not_too_many(capture: InMemory) -> None:
    assert capture.call(batch(*[GOOD] * 500)).status == 200
    assert len(capture.events()) == 500


MANY = 1_000_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" + b"{}," * MANY + b"{}]", 401),
        (b"[" + b"5," * MANY + b"5]", 401),
        (b'{"api_key":"%s","batch":[' % TOKEN.encode() + b"{}," * MANY + b"5]}", 400),
        (b'["' + b"\\a" * MANY, 400),
        (b'["' + b"\\ud800" * MANY + b'"]', 401),
        (b'{"token":[' + b"[]," * MANY + b"[]]}", 400),
        (b'{"api_key":"%s","event":"e","distinct_id":[' % TOKEN.encode() + b"[]," * MANY + b"[]]}", 400),
        (b'{"api_key":"%s","event":"e","properties":{"token":[' % TOKEN.encode() + b"[]," * MANY + b"[]]}}", 400),
    ],
)
def test_a_million_small_pieces_cost_no_memory(capture: InMemory, body: bytes, status: int) -> None:
    tracemalloc.start()
    try:
        assert capture.call(gzip.compress(body)).status == status
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":',
        b'{"api_key":"%s","a":"\xff"}' % TOKEN.encode(),
        b'{"a":' * 10_000,
        b"no JSON",
        b"\x1f\x8bno gzip",
        b'{"batch":5}',
        b'{"api_key":"%s","batch":[5,{"event":"e"},{"event":"e","distinct_id":"d","properties":5}]}' % TOKEN.encode(),
    ],
)
def test_nothing_of_a_refused_body_waits_for_the_collector(capture: InMemory, body: bytes) -> None:
    capture.intake.judge(Ask("", ""), body, NOW_MS, 0.0)  # what is made once is made
    gc.collect()
    gc.disable()
    try:
        assert capture.intake.judge(Ask("", ""), body, NOW_MS, 0.0).answer.status == 400
        assert gc.collect(0) == 0, "an exception keeps the frames it went through, and they the body"
    finally:
        gc.enable()


def test_a_large_batch_is_read_as_a_small_one(capture: InMemory) -> None:
    events = [GOOD | {"properties": {"text": "\ud83d" + "x" * 10_000, "number": number}} for number in range(100)]
    reply = capture.call(batch(*events[:50], 5, *events[50:]))
    assert (reply.status, [one["index"] for one in reply.json["refused"]]) == (200, [50])
    assert [event["data"]["properties"]["number"] for event in capture.events()] == list(range(100))
    assert capture.events()[0]["data"]["properties"]["text"][0] == "\ufffd"


def test_a_body_that_is_too_large_is_413(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path), body_bytes_max=1000)
    large = json.dumps({**SINGLE, "properties": {"a": "x" * 2000}}).encode()
    for how in (
        {"headers": {"content-length": str(len(large))}},
        {},
    ):
        reply = capture.call(large, **how)
        assert (reply.status, reply.json["slug"]) == (413, "body_too_large")
    pieces = [large[at : at + 300] for at in range(0, len(large), 300)]
    reply = capture.call(*pieces)
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert capture.call(gzip.compress(large)).status == 413
    assert capture.pipeline.written == []


def test_a_body_in_pieces_is_one_body(capture: InMemory) -> None:
    raw = json.dumps(SINGLE).encode()
    assert capture.call(raw[:7], b"", raw[7:]).status == 200
    assert len(capture.events()) == 1


def test_a_quota_is_kept_and_told(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path, DIRECTORY.replace('"org_hanzo"', '"org_hanzo"\nquota_per_second = 10')))
    assert capture.call(batch(*[GOOD] * 25)).status == 200
    reply = capture.call(SINGLE)
    assert (reply.status, reply.json["slug"], reply.headers["retry-after"]) == (429, "quota_exceeded", "2")
    assert capture.call({**SINGLE, "api_key": OTHER_TOKEN}).status == 200
    assert len(capture.events()) == 26


def test_rubbish_of_nobodys_is_bounded(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path), unknown_letters_per_second=0.001)
    assert capture.call(b"rubbish!").status == 400
    reply = capture.call(b"rubbish!")
    assert (reply.status, reply.json["slug"]) == (429, "too_many_refused")
    assert int(reply.headers["retry-after"]) > 1
    assert len(capture.letters()) == 1


def test_without_an_acknowledgement_there_is_no_200(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path))
    capture.pipeline.away = True
    for body in (SINGLE, b"{", {"api_key": TOKEN, "event": "e"}):
        reply = capture.call(body)
        assert (reply.status, reply.json["slug"], reply.headers["retry-after"]) == (503, "kafka_away", "1")


def test_a_missing_topic_is_named_and_what_needs_it_not_is_taken(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path))
    capture.pipeline.gone.add("dead_letter")
    for _ in range(2):  # found by the first record, known for the second
        reply = capture.call(b"{")
        assert (reply.status, reply.json["slug"], reply.headers["retry-after"]) == (503, "topic_missing", "1")
    assert reply.json["error"] == "topic dead_letter does not exist; create it with `streamapp topics apply`"
    assert capture.call(SINGLE).status == 200


def test_a_full_buffer_is_503(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path), MemoryPipeline(records_max=3))
    assert capture.call(batch(*[GOOD] * 3)).status == 200
    reply = capture.call(batch(*[GOOD] * 4))
    assert (reply.status, reply.json["slug"], reply.headers["retry-after"]) == (503, "overloaded", "1")
    assert len(capture.events()) == 3


def test_bodies_that_come_in_are_part_of_the_buffer(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path), buffer_bytes_max=8 << 20)
    reply = capture.call(*[b"x" * 400_000] * 24)
    assert (reply.status, reply.json["slug"]) == (503, "overloaded")
    assert capture.call(SINGLE).status == 200, "what was given up is free again"


def test_a_client_that_goes_away_leaves_nothing(capture: InMemory) -> None:
    assert asyncio.run(capture.ask(b'{"api_key"', b":", gone=True)) is None
    assert capture.pipeline.written == []
    assert "capture_buffer_bytes 0.0" in capture.call(method="GET", path="/metrics").body.decode()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_405(capture: InMemory, method: str) -> None:
    assert capture.call(SINGLE, method=method).status == 405


def test_other_paths_are_404(capture: InMemory) -> None:
    assert capture.call(SINGLE, path="/decide/").status == 404


def test_a_defect_is_500_and_takes_nothing(tmp_path: Path) -> None:
    class Broken(EmptyDirectory):
        def team_of(self, token: str) -> str | None:
            raise RuntimeError("a defect")

    assert (reply := InMemory(Broken()).call(SINGLE)).status == 500
    assert reply.json["slug"] == "failed"


def test_browsers_may_send_from_everywhere(capture: InMemory) -> None:
    asked = {"origin": "https://a.example", "access-control-request-headers": "content-type,x-custom"}
    reply = capture.call(method="OPTIONS", headers=asked)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert reply.headers["access-control-allow-headers"] == "content-type,x-custom"
    assert {"GET", "POST", "OPTIONS"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    assert "Origin" in reply.headers["vary"]
    refused = capture.call(GOOD, headers={"origin": "null"})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "null")
    assert refused.headers["access-control-expose-headers"] == "Retry-After"
    assert "access-control-allow-origin" not in capture.call(SINGLE).headers


def test_a_beacon_with_a_bad_event_is_not_told(capture: InMemory) -> None:
    assert capture.call(batch(GOOD, 5), beacon="1").status == 204
    assert capture.call(b"{", beacon="1").status == 400


def test_counters_say_what_happened(capture: InMemory) -> None:
    capture.call(batch(GOOD, GOOD, 5))
    capture.call(GOOD)
    text = capture.call(method="GET", path="/metrics").body.decode()
    assert "capture_events_total 2.0" in text
    assert 'capture_events_refused_total{reason="invalid_data"} 1.0' in text
    assert 'capture_requests_total{slug="token_missing",status="401"} 1.0' in text
    assert "capture_request_seconds_count 2.0" in text
    assert "capture_buffer_bytes 0.0" in text


def test_a_page_that_fails_is_a_defect_in_the_one_form(capture: InMemory) -> None:
    capture.app.connections = lambda: 1 // 0
    reply = capture.call(method="GET", path="/metrics")
    assert (reply.status, reply.json["slug"]) == (500, "failed")


def test_another_method_is_told_which_there_are(capture: InMemory) -> None:
    for path, allowed in (("/e", "GET, POST, OPTIONS"), ("/metrics", "GET, HEAD")):
        reply = capture.call(method="DELETE", path=path)
        assert (reply.status, reply.json["slug"], reply.headers["allow"]) == (405, "method_not_allowed", allowed)
    assert "allow" not in capture.call(path="/nowhere").headers


def test_every_kind_of_trouble_is_in_the_table_once() -> None:
    assert len({kind.slug for kind in KINDS}) == len(KINDS)
    assert all(kind.meaning for kind in KINDS)
    assert {kind.status for kind in KINDS if kind.reason is not None} == {400}
    assert {kind.reason.value for kind in KINDS if kind.reason} == {kind.slug for kind in KINDS if kind.reason}
    assert {kind.status for kind in KINDS} >= RETRIED


def test_now_is_what_the_clock_says(capture: InMemory) -> None:
    capture.call(SINGLE)
    assert capture.events()[0]["timestamp"].startswith("2026-11-18T11:06:40")
    assert capture.outside.now_ms == NOW_MS
