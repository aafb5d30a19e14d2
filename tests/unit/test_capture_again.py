"""What capture refused, put right and sent again, is the record that capture would have written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from capture_calls import NOW_MS, TOKEN, InMemory, directory_in

from streamapp.capture.again import Again
from streamapp.capture.reading.events import SOURCE
from streamapp.dead_letters.done import Done
from streamapp.dead_letters.plan import Fix, Resend, Rules, Stays, plan
from streamapp.dead_letters.read import Letter, parse
from streamapp.kafka.log.reader import Record
from streamapp.topics.partitioner import partition_for

TOPIC = "events_plugin_ingestion"
UUID = "4f0d2a3e-8b1c-4d5e-9f60-718293a4b5c6"
SENT = {"api_key": TOKEN, "sent_at": "2026-11-18T12:06:40.000Z"}  # the client's clock is an hour ahead
EVENT = {
    "event": "order placed",
    "distinct_id": "user_456",
    "timestamp": "2026-11-18T12:06:35.000Z",
    "uuid": UUID,
    "properties": {"price": 12.5},
}
NAMELESS = {**EVENT, "event": ""}
NAME = Fix(patch=jsonpatch.JsonPatch([{"op": "replace", "path": "/event", "value": "order placed"}]))


@pytest.fixture
def capture(tmp_path: Path) -> InMemory:
    return InMemory(directory_in(tmp_path))


@pytest.fixture
def again(tmp_path: Path) -> Again:
    return Again(directory_in(tmp_path), 1 << 20)


def compact(body: Any) -> bytes:
    """As a patched value is written."""
    return json.dumps(body, separators=(",", ":")).encode()


def refused(capture: InMemory, body: Any, **how: Any) -> list[Letter]:
    """The dead letters about what is refused of a request."""
    capture.call(body, **how)
    found = [value for topic, _, value in capture.pipeline.written if topic == "dead_letter"]
    read = [parse(Record("dead_letter", 0, at, NOW_MS, TOPIC.encode(), value)) for at, value in enumerate(found)]
    return [one for one in read if isinstance(one, Letter)]


def step(letter: Letter, again: Again, fix: Fix) -> Resend | Stays:
    return plan(letter, Done(), Rules({TOPIC: 16}, lambda team: None, fix, reentries={SOURCE: again}))


def taken(capture: InMemory, body: Any, **how: Any) -> tuple[bytes, bytes]:
    """Key and value of the only record that a request becomes."""
    capture.pipeline.written.clear()
    capture.call(body, **how)
    ((topic, key, value),) = capture.pipeline.written
    assert topic == TOPIC
    return key, value


@pytest.mark.parametrize("around", [lambda event: {**SENT, "batch": [event]}, lambda event: SENT | event])
def test_it_goes_as_if_it_had_been_taken_at_once(capture: InMemory, again: Again, around: Any) -> None:
    (letter,) = refused(capture, gzip.compress(compact(around(NAMELESS))))
    assert letter.reason == "missing_event_name"
    found = step(letter, again, NAME)
    assert isinstance(found, Resend), found
    record = found.record
    assert (record.key, record.value) == taken(capture, compact(around(EVENT)))
    assert json.loads(record.value or b"")["timestamp"] == "2026-11-18T11:06:35.000Z"
    assert record.partition == partition_for(b"team_abc123", 16)
    assert record.headers == (("hanzo-attempt", b"1"), ("hanzo-letter", letter.id.encode()))
    assert found.changed == ("value",)


def test_without_a_uuid_it_is_the_same_event_however_often_it_is_planned(capture: InMemory, again: Again) -> None:
    nameless = {"event": "", "distinct_id": "user_456"}
    one, other = refused(capture, {**SENT, "batch": [nameless, nameless]})
    records = [step(letter, again, NAME) for letter in (one, one, other)]
    values = [found.record.value for found in records if isinstance(found, Resend)]
    assert values[0] == values[1] != values[2]


def test_what_nobody_could_read_goes_with_a_body_that_names_its_token(capture: InMemory, again: Again) -> None:
    (letter,) = refused(capture, b'{"api_key": ')
    assert (letter.reason, letter.key) == ("malformed_json", None)
    found = step(letter, again, Fix(value=json.dumps(SENT | EVENT).encode()))
    assert isinstance(found, Resend), found
    assert json.loads(found.record.value or b"")["team_id"] == "team_abc123"
    assert found.changed == ("value", "key")


def test_nobody_writes_for_another_team_by_a_detour(capture: InMemory, again: Again) -> None:
    forged = {
        "schema": "hanzo.stream.v1", "id": "evt_1", "type": "insights.event.captured", "source": SOURCE,
        "timestamp": "2026-11-18T11:06:35.000Z", "team_id": "team_other", "event": "", "distinct_id": "d",
        "data": {"event": "e", "distinct_id": "d", "properties": {}}, "api_key": TOKEN,
    }  # fmt: skip
    (letter,) = refused(capture, forged)
    assert letter.team == "team_abc123"
    assert isinstance(step(letter, again, Fix()), Stays)
    found = step(letter, again, NAME)
    assert isinstance(found, Resend)
    assert json.loads(found.record.value or b"")["team_id"] == "team_abc123"
    assert found.record.key == b"team_abc123"


@pytest.mark.parametrize(
    ("body", "value", "why"),
    [
        (NAMELESS | SENT, None, "refuse it still: the event has no name"),
        (b"\x1f\x8b broken", None, "refuse it still: the wrapping"),
        (b"{", None, "refuse it still: the body is not JSON"),
        (b"{", EVENT, "refuse it still: no project token"),
        (b"{", {**EVENT, "api_key": "ha_nobody"}, "refuse it still: unknown project token"),
        (b"{", [EVENT | {"api_key": TOKEN}] * 10_001, "more than 10000 events"),
        (b"{", [EVENT | {"api_key": TOKEN}, NAMELESS], "refuse it still: the event has no name"),
        (b"{", [EVENT | {"api_key": TOKEN}, 5], "refuse it still: the event has fields"),
        (b"{", SENT | {"batch": []}, "refuse it still: the request carries no event"),
        (b"{", b"", "refuse it still: the request carries no event"),
    ],
)
def test_what_the_door_would_not_take_stays(capture: InMemory, again: Again, body: Any, value: Any, why: str) -> None:
    (letter,) = refused(capture, body)
    fix = Fix() if value is None else Fix(value=value if value == b"" else json.dumps(value).encode())
    found = step(letter, again, fix)
    assert isinstance(found, Stays), found
    assert why in found.why


@pytest.mark.parametrize("uuids", [True, False])
def test_a_body_that_was_mended_is_each_of_its_events_once(capture: InMemory, again: Again, uuids: bool) -> None:
    events = [{**EVENT, "event": f"e{n}", "uuid": f"{UUID[:-1]}{n}"} for n in range(3)]
    if not uuids:
        events = [{name: value for name, value in event.items() if name != "uuid"} for event in events]
    body = compact({**SENT, "batch": events})
    (letter,) = refused(capture, gzip.compress(body[:-1]))
    assert (letter.reason, letter.key) == ("malformed_json", None)
    steps = [step(letter, again, Fix(value=body)) for _ in range(2)]
    first, second = (one for one in steps if isinstance(one, Resend))
    assert first == second
    found = [json.loads(record.value or b"") for record in first.records]
    assert [one["data"]["event"] for one in found] == ["e0", "e1", "e2"]
    assert len({one["id"] for one in found}) == 3
    assert {record.key for record in first.records} == {b"team_abc123"}
    if uuids:
        capture.pipeline.written.clear()
        capture.call(body)
        at_once = capture.events()
        for event in at_once:
            del event["data"]["ip"]  # the dead letter about a body does not say it
        assert found == at_once
