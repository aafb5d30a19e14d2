"""What clients send becomes what the contract says: recorded requests of real clients, rules, the fast encoder."""

from __future__ import annotations

import gzip
import json
import uuid as uuids
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from capture_calls import NOW_MS, TOKEN, InMemory, directory_in
from ulid import ULID

from streamapp.capture.reading.ids import id_of, new_uuid
from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.values.strict_json import parse
from streamapp.schemas.values.timestamp import format_ms

V7 = "019a95b0-7c1b-7a3f-8d2e-1f2a3b4c5d6e"  # made at 1763442457627
V4 = "4f0d2a3e-8b1c-4d5e-9f60-718293a4b5c6"
WHEN = "2026-11-18T11:06:35.000Z"  # five seconds before NOW_MS
BROWSER = {"user-agent": "Mozilla/5.0", "origin": "https://hanzo.ai", "content-type": "text/plain"}


@pytest.fixture
def capture(tmp_path: Path) -> InMemory:
    return InMemory(directory_in(tmp_path))


def only_event(capture: InMemory) -> dict[str, Any]:
    (event,) = capture.events()
    return event


def test_the_python_client(capture: InMemory) -> None:
    properties = {"plan": "pro", "$lib": "posthog-python", "$lib_version": "6.9.1", "$geoip_disable": True}
    message = {
        "properties": properties,
        "timestamp": "2026-11-18T11:06:35.000123+00:00",
        "distinct_id": "user_456",
        "event": "signed up",
        "uuid": V4,
    }
    body = {"historical_migration": False, "batch": [message], "sentAt": "2026-11-18T11:06:39+00:00", "api_key": TOKEN}
    reply = capture.call(gzip.compress(json.dumps(body).encode()), path="/batch/", headers={"content-encoding": "gzip"})
    assert (reply.status, reply.json) == (200, {"status": 1})
    event = only_event(capture)
    assert event == {
        "schema": "hanzo.stream.v1",
        "id": event["id"],
        "type": "insights.event.captured",
        "source": "insights-capture",
        "timestamp": WHEN,
        "team_id": "team_abc123",
        "org_id": "org_hanzo",
        "data": {
            "event": "signed up",
            "distinct_id": "user_456",
            "properties": properties,
            "ip": "203.0.113.42",
            "uuid": V4,
        },
    }
    assert list(event) == ["schema", "id", "type", "source", "timestamp", "team_id", "org_id", "data"]
    ((topic, key, _),) = capture.pipeline.written
    assert (topic, key) == ("events_plugin_ingestion", b"team_abc123")


def test_the_node_client_with_a_clock_that_is_an_hour_ahead(capture: InMemory) -> None:
    message = {
        "distinct_id": "user_456",
        "event": "clicked",
        "properties": {"$lib": "posthog-node", "$session_id": "sess_abc123"},
        "type": "capture",
        "library": "posthog-node",
        "library_version": "5.14.0",
        "timestamp": "2026-11-18T12:06:35.000Z",
        "uuid": V7,
    }
    body = {"api_key": TOKEN, "batch": [message], "sent_at": "2026-11-18T12:06:40.000Z"}
    assert capture.call(gzip.compress(json.dumps(body).encode()), path="/batch/").status == 200
    event = only_event(capture)
    assert event["timestamp"] == WHEN
    assert event["data"]["sent_at"] == "2026-11-18T12:06:40.000Z"
    assert event["data"]["session_id"] == "sess_abc123"


def test_the_browser_client(capture: InMemory) -> None:
    properties = {
        "$current_url": "https://hanzo.ai/dashboard",
        "$browser": "Chrome",
        "$os": "macOS",
        "token": TOKEN,
        "distinct_id": "019a95b0-0000-7000-8000-000000000001",
        "$session_id": "019a95b0-0000-7000-8000-000000000002",
    }
    body = [{"uuid": V7, "event": "$pageview", "properties": properties, "offset": 5000}]
    raw = gzip.compress(json.dumps(body, separators=(",", ":")).encode())
    query = {"compression": "gzip-js", "ip": "0", "_": str(NOW_MS - 800), "ver": "1.300.0"}
    reply = capture.call(raw, path="/e/", headers=BROWSER, **query)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://hanzo.ai")
    event = only_event(capture)
    assert event["timestamp"] == WHEN
    assert event["data"]["properties"] == properties
    assert event["data"]["distinct_id"] == properties["distinct_id"]
    assert event["data"]["sent_at"] == format_ms(NOW_MS - 800)


def test_the_browser_client_when_a_page_is_left(capture: InMemory) -> None:
    event = {"event": "$pageleave", "properties": {"token": TOKEN, "distinct_id": "u"}, "timestamp": WHEN}
    form = urlencode({"data": b64encode(json.dumps(event).encode())}).encode()
    reply = capture.call(form, headers=BROWSER, compression="base64", beacon="1", _=str(NOW_MS))
    assert (reply.status, reply.body) == (204, b"")
    assert only_event(capture)["data"]["event"] == "$pageleave"


def test_a_phone(capture: InMemory) -> None:
    message = {"event": "Application Opened", "distinct_id": "p1", "properties": {"$os": "iOS"}, "timestamp": WHEN}
    body = {"api_key": TOKEN, "batch": [message | {"uuid": V7.upper()}], "sent_at": "2026-11-18T11:06:40.000Z"}
    assert capture.call(body, path="/batch").status == 200
    assert only_event(capture)["data"]["uuid"] == V7


def test_a_pixel(capture: InMemory) -> None:
    event = {"event": "opened mail", "distinct_id": "m1", "api_key": TOKEN}
    for data in (json.dumps(event), b64encode(json.dumps(event).encode()).decode()):
        assert capture.call(method="GET", data=data).status == 200
    assert len(capture.events()) == 2


@pytest.mark.parametrize("path", ["/e", "/e/", "/capture", "/capture/", "/batch", "/batch/", "/i/v0/e", "/i/v0/e/"])
def test_every_endpoint_takes_every_shape(capture: InMemory, path: str) -> None:
    event = {"event": "e", "distinct_id": "d"}
    for body in ({**event, "api_key": TOKEN}, {"batch": [event], "token": TOKEN}, [{**event, "$token": TOKEN}] * 2):
        assert capture.call(body, path=path).status == 200
    assert len(capture.events()) == 4


@pytest.mark.parametrize(
    "body",
    [
        {"api_key": TOKEN, "event": "e", "distinct_id": "d"},
        {"token": f" {TOKEN}\n", "event": "e", "distinct_id": "d"},
        {"$token": TOKEN, "event": "e", "distinct_id": "d"},
        {"event": "e", "distinct_id": "d", "properties": {"token": TOKEN}},
        {"batch": [{"event": "e", "distinct_id": "d", "api_key": TOKEN}]},
        {"api_key": TOKEN, "batch": [{"event": "e", "distinct_id": "d", "token": "another, which does not count"}]},
    ],
)
def test_every_place_of_a_token(capture: InMemory, body: dict[str, Any]) -> None:
    assert capture.call(body).status == 200


def test_a_token_in_the_query_or_in_the_form(capture: InMemory) -> None:
    event = {"event": "e", "distinct_id": "d"}
    assert capture.call(event, api_key=TOKEN).status == 200
    assert capture.call(urlencode({"data": json.dumps(event), "token": TOKEN}).encode()).status == 200


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ('"distinct_id": "u"', "u"),
        ('"$distinct_id": "u"', "u"),
        ('"properties": {"distinct_id": "u"}', "u"),
        ('"distinct_id": "top", "properties": {"distinct_id": "u"}', "top"),
        ('"distinct_id": "", "properties": {"distinct_id": "u"}', "u"),
        ('"distinct_id": null, "$distinct_id": "u"', "u"),
        ('"distinct_id": 23', "23"),
        ('"distinct_id": 0', "0"),
        ('"distinct_id": 23.40', "23.40"),
        ('"distinct_id": 12345678901234567890123', "12345678901234567890123"),
        ('"distinct_id": true', "true"),
        ('"distinct_id": ["a", 1, 1.50]', '["a",1,1.50]'),
        ('"distinct_id": "a\\u0000b"', "a\ufffdb"),
        ('"distinct_id": "' + "ö" * 300 + '"', "ö" * 200),
    ],
)
def test_who_did_it(capture: InMemory, fields: str, meant: str) -> None:
    assert capture.call(f'{{"api_key": "{TOKEN}", "event": "e", {fields}}}'.encode()).status == 200
    assert only_event(capture)["data"]["distinct_id"] == meant


def test_properties_keep_every_digit_and_every_byte(capture: InMemory) -> None:
    properties = (
        '{"big":123456789012345678901234567890,"small":1.10,"e":1E400,"text":"\\u00e9 é \\/","again":1,"again":2}'
    )
    event = f'{{"api_key":"{TOKEN}","event":"e","distinct_id":"d","properties": {properties} }}'
    assert capture.call(event.encode()).status == 200
    assert properties.encode() in capture.pipeline.written[0][2]


def test_a_name_that_is_too_long_is_cut(capture: InMemory) -> None:
    assert capture.call({"api_key": TOKEN, "event": "e" * 300, "distinct_id": "d"}).status == 200
    assert only_event(capture)["data"]["event"] == "e" * 200


def test_half_of_a_surrogate_pair_is_mended(capture: InMemory) -> None:
    text = r'{"api_key":"%s","event":"e","distinct_id":"d","properties":{"a":"\ud83d\ude00 \ud83d \\ud83d \ude00"}}'
    assert capture.call((text % TOKEN).encode()).status == 200
    assert only_event(capture)["data"]["properties"] == {"a": "😀 \ufffd \\ud83d \ufffd"}


@pytest.mark.parametrize(
    ("inside", "beside", "meant"),
    [
        ({"a": 1}, {"$set": {"n": 1}}, {"a": 1, "$set": {"n": 1}}),
        ({"$set": {"n": 2, "m": 3}}, {"$set": {"n": 1, "o": 4}}, {"$set": {"n": 2, "m": 3, "o": 4}}),
        (None, {"$set_once": {"n": 1}}, {"$set_once": {"n": 1}}),
        ({}, {"$set": None}, {}),
    ],
)
def test_what_is_said_of_a_person_moves_into_the_properties(
    capture: InMemory, inside: Any, beside: Any, meant: Any
) -> None:
    body = {"api_key": TOKEN, "event": "$identify", "distinct_id": "d", "properties": inside, **beside}
    assert capture.call(body).status == 200
    assert only_event(capture)["data"]["properties"] == meant


def test_skew_is_not_corrected_where_the_client_says_so(capture: InMemory) -> None:
    event = {"event": "e", "distinct_id": "d", "timestamp": WHEN, "properties": {"$ignore_sent_at": True}}
    body = {"api_key": TOKEN, "batch": [event], "sent_at": "2026-11-18T11:06:00.000Z"}
    assert capture.call(body).status == 200
    assert only_event(capture)["timestamp"] == WHEN


def test_the_same_event_sent_again_has_the_same_id(capture: InMemory) -> None:
    for uuid, when in ((V7, {"timestamp": WHEN}), (V4, {"timestamp": WHEN}), (V7[:-1] + "f", {}), (V4[:-1] + "f", {})):
        body = {"api_key": TOKEN, "event": "e", "distinct_id": "d", "uuid": uuid, **when}
        assert capture.call(body).status == 200
        capture.outside.now_ms += 60_000  # an hour of outage would be the same
        assert capture.call(body, _=str(NOW_MS)).status == 200
    ids = [event["id"] for event in capture.events()]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 4
    stated = {"api_key": TOKEN, "event": "e", "distinct_id": "d", "uuid": V4[:-1] + "f", "timestamp": WHEN}
    assert capture.call(stated).status == 200
    assert capture.events()[-1]["id"] == ids[-1]


def test_ids_are_real_ulids_of_the_uuids_moment_and_differ_by_team() -> None:
    made = id_of(V4, b"team_a")
    assert made.startswith("evt_")
    assert ULID.from_str(made[4:]).timestamp == 0
    assert made != id_of(V4, b"team_b")
    assert int(ULID.from_str(id_of(V7, b"team_a")[4:]).timestamp * 1000) == int(V7[:8] + V7[9:13], 16)
    assert len({id_of(str(uuids.UUID(int=n)), b"t") for n in range(10_000)}) == 10_000


def test_an_event_without_a_uuid_gets_one_of_its_own(capture: InMemory) -> None:
    body = {"api_key": TOKEN, "batch": [{"event": "e", "distinct_id": "d", "uuid": bad} for bad in (None, "", "x", 7)]}
    assert capture.call(body).status == 200
    made = [event["data"]["uuid"] for event in capture.events()]
    assert len(set(made)) == 4
    assert {uuids.UUID(uuid).version for uuid in made} == {7}
    assert {uuids.UUID(uuid).variant for uuid in made} == {uuids.RFC_4122}
    assert new_uuid(NOW_MS, b"\xff" * 10)[:13].replace("-", "") == f"{NOW_MS:012x}"


def test_the_fast_encoder_writes_what_the_contract_accepts(capture: InMemory) -> None:
    events = [
        {"event": 'é\n"', "distinct_id": "\u2028", "properties": {"$session_id": 17}, "uuid": V4, "timestamp": WHEN},
        {"event": "e", "$distinct_id": 5, "properties": None, "offset": 3},
        {"event": "e", "distinct_id": "x" * 999, "properties": {"$session_id": "s" * 999}},
    ]
    assert capture.call({"api_key": TOKEN, "batch": events, "sent_at": WHEN}).status == 200
    for _, _, value in capture.pipeline.written:
        model = EventCaptured.model_validate(parse(value)[0])
        assert model.model_dump(mode="json", exclude_none=True) == json.loads(value)


def test_the_sample_of_the_standard_is_valid() -> None:
    sample = {
        "schema": "hanzo.stream.v1",
        "id": "evt_01HQ4Y8L9N3O5Q6R7S8T9U0V1X",
        "type": "insights.event.captured",
        "source": "insights-capture",
        "timestamp": "2025-01-15T10:31:00.456Z",
        "team_id": "team_abc123",
        "data": {
            "event": "$pageview",
            "distinct_id": "user_456",
            "properties": {"$current_url": "https://hanzo.ai/dashboard", "$browser": "Chrome", "$os": "macOS"},
            "ip": "203.0.113.42",
            "session_id": "sess_abc123",
            "sent_at": "2025-01-15T10:30:59.800Z",
        },
    }
    assert EventCaptured.model_validate(sample).model_dump(mode="json", exclude_none=True) == sample


@pytest.mark.parametrize(
    ("proxies", "forwarded", "ip"),
    [
        (0, "198.51.100.7", "203.0.113.42"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (2, "6.6.6.6, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (3, "198.51.100.7", "198.51.100.7"),
        (1, None, "203.0.113.42"),
        (1, "203.0.113.7:51234", "203.0.113.7"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "[2001:db8::1]", "2001:db8::1"),
        (1, "2001:DB8:0::1", "2001:db8::1"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "[::ffff:203.0.113.7]:80", "203.0.113.7"),
        (1, "unknown", None),
        (1, "_hidden", None),
        (1, "203.0.113.7:port", None),
        (1, "[203.0.113.7", None),
        (1, "", None),
        (1, "6.6.6.6,", None),
    ],
)
def test_the_address_is_the_clients_not_a_proxys(
    tmp_path: Path, proxies: int, forwarded: str | None, ip: str | None
) -> None:
    capture = InMemory(directory_in(tmp_path), proxies=proxies)
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert capture.call({"api_key": TOKEN, "event": "e", "distinct_id": "d"}, headers=headers).status == 200
    assert only_event(capture)["data"].get("ip") == ip


@pytest.mark.parametrize(
    ("forwarded", "ip"),
    [
        ('for="[2001:db8::1]:443";proto=https', "2001:db8::1"),
        ("for=6.6.6.6, proto=http;For=203.0.113.7:51234", "203.0.113.7"),
        ("for=unknown", None),
        ("by=203.0.113.7", None),
    ],
)
def test_the_standard_header_tells_the_address_where_the_usual_one_is_missing(
    tmp_path: Path, forwarded: str, ip: str | None
) -> None:
    capture = InMemory(directory_in(tmp_path), proxies=1)
    body = {"api_key": TOKEN, "event": "e", "distinct_id": "d"}
    assert capture.call(body, headers={"forwarded": forwarded}).status == 200
    assert only_event(capture)["data"].get("ip") == ip
    both = {"forwarded": forwarded, "x-forwarded-for": "198.51.100.7"}
    assert capture.call(body, headers=both).status == 200
    assert capture.events()[1]["data"]["ip"] == "198.51.100.7"


def test_timestamps_that_cannot_be_read_are_counted_by_library(capture: InMemory) -> None:
    libs = ["posthog-php", "posthog-php", "my own " * 50, None, 5]
    events = [
        {"event": "e", "distinct_id": "d", "timestamp": "10:30 CET", "properties": {} if lib is None else {"$lib": lib}}
        for lib in libs
    ]
    assert capture.call({"api_key": TOKEN, "batch": [*events, {"event": "e", "distinct_id": "d"}]}).status == 200
    told = capture.app.counters.exposition().decode()
    for lib, count in (("posthog-php", 2), ("other", 2), ("none", 1)):
        assert f'capture_timestamps_unreadable_total{{lib="{lib}"}} {count}.0' in told
