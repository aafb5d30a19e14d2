"""`streamapp capture` and a real Kafka: a 200 means that it is there, also when the broker goes away and comes back."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import forked
import pytest
from capture_calls import DIRECTORY, OTHER_TOKEN, TOKEN
from captures import WAIT_S, Capture, captures
from conftest import wait_until

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.values.strict_json import parse
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS

EVENTS = "events_plugin_ingestion"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Capture]]:
    """Starts processes, ready to take events."""
    with captures(tmp_path) as begin:
        yield begin


def batch(*names: str, token: str = TOKEN) -> bytes:
    events = [{"event": name, "distinct_id": "d", "uuid": uuid_of(name)} for name in names]
    return gzip.compress(json.dumps({"api_key": token, "batch": events}).encode())


def uuid_of(name: str) -> str:
    return f"4f0d2a3e-8b1c-4d5e-9f60-{int(name):012x}"


def records(broker: Broker, topic: str = EVENTS) -> list[Record]:
    return list(read({"bootstrap.servers": broker.bootstrap, "fetch.wait.max.ms": 20}, topic))


def names(found: list[Record]) -> Counter[str]:
    return Counter(json.loads(record.value or b"")["data"]["event"] for record in found)


def test_what_is_answered_200_is_in_the_topic_as_the_contract_says(
    ready_broker: Broker, start: Callable[..., Capture]
) -> None:
    capture = start(ready_broker)

    def send(number: int) -> int:
        token = OTHER_TOKEN if number % 3 == 0 else TOKEN
        return capture.ask(batch(*(str(number * 100 + n) for n in range(100)), token=token))[0]

    with ThreadPoolExecutor(16) as clients:
        assert set(clients.map(send, range(60))) == {200}
    found = records(ready_broker)
    assert names(found) == {str(n): 1 for n in range(6000)}
    for record in found:
        event = EventCaptured.model_validate(parse(record.value or b"")[0])
        assert record.key == event.team_id.encode()
        assert record.partition == partition_for(record.key, 16)
    for number in range(60):  # the order of each request is kept
        mine = [int(json.loads(record.value or b"")["data"]["event"]) for record in found]
        mine = [name for name in mine if name // 100 == number]
        assert mine == sorted(mine)


def test_refused_events_are_in_dead_letter_before_the_answer(
    ready_broker: Broker, start: Callable[..., Capture]
) -> None:
    capture = start(ready_broker)
    large = b'{"api_key": "' + b"x" * 2_600_000
    bodies = (json.dumps({"api_key": TOKEN, "batch": [{"event": "1", "distinct_id": "d"}, 5]}).encode(), b"{", large)
    assert [capture.ask(body)[0] for body in bodies] == [200, 400, 400]
    letters = [json.loads(record.value or b"")["data"] for record in records(ready_broker, "dead_letter")]
    assert [letter["reason"] for letter in letters] == ["invalid_data", "malformed_json", "malformed_json"]
    assert [letter.get("truncated", False) for letter in letters] == [False, False, True]


def test_what_was_refused_is_put_right_and_goes_in_once(
    ready_broker: Broker, start: Callable[..., Capture], tmp_path: Path
) -> None:
    capture = start(ready_broker)
    good = [
        {"event": "7", "distinct_id": "d", "uuid": uuid_of(str(number)), "timestamp": "2026-11-18T11:06:35Z"}
        for number in range(20)
    ]
    nameless = [event | {"event": ""} for event in good]
    assert capture.ask(json.dumps({"api_key": TOKEN, "batch": nameless}).encode())[0] == 400
    (tmp_path / "patch.json").write_text('[{"op": "replace", "path": "/event", "value": "7"}]')
    command = ("dead-letters", "redrive", "--yes", "--receipt", "-")
    settings = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": ready_broker.bootstrap,
        "STREAM_DIRECTORY": str(tmp_path / "directory.toml"),
    }

    def redrive(*words: str, code: int = 0) -> int:
        ran = forked.command(*command, *words, environment=settings)
        assert ran.returncode == code, ran.stderr
        return len(ran.stdout.splitlines())

    assert redrive(code=1) == 0, "they are no better than before"
    assert redrive("--patch", str(tmp_path / "patch.json")) == 20
    assert redrive("--patch", str(tmp_path / "patch.json")) == 0
    assert capture.ask(json.dumps({"api_key": TOKEN} | good[0]).encode())[0] == 200  # it is the same event
    ids: Counter[str] = Counter()
    for record in records(ready_broker):
        event = EventCaptured.model_validate(parse(record.value or b"")[0])
        assert (record.key, record.partition) == (b"team_abc123", partition_for(b"team_abc123", 16))
        assert (event.team_id, event.org_id, event.data.event) == ("team_abc123", "org_hanzo", "7")
        ids[event.id] += 1
    assert sorted(ids.values()) == [1] * 19 + [2]


@pytest.mark.long
def test_two_processes_share_a_port_and_a_stop_loses_nothing(
    ready_broker: Broker, start: Callable[..., Capture]
) -> None:
    first = start(ready_broker)
    second = start(ready_broker, first.port)
    over = threading.Event()
    answered: Counter[str] = Counter()

    def client(number: int) -> None:
        count = 0
        while not over.is_set():
            name = str(number * 1_000_000 + count)
            try:
                status = first.ask(batch(name))[0]
            except (OSError, HTTPException):
                continue  # it went away with the process; the same again
            assert status in (200, 503)
            if status == 200:
                answered[name] += 1
                count += 1

    clients = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(8)]
    for one in clients:
        one.start()
    wait_until(lambda: len(answered) > 200, WAIT_S)
    assert first.stop() == 0
    seen = len(answered)
    wait_until(lambda: len(answered) > seen + 100, WAIT_S)
    over.set()
    for one in clients:
        one.join(WAIT_S)
    assert second.stop() == 0
    found = names(records(ready_broker))
    assert answered.keys() <= found.keys()


def test_no_200_without_kafka_and_what_is_sent_again_has_the_same_id(
    ready_broker: Broker, start: Callable[..., Capture]
) -> None:
    broker = ready_broker
    capture = start(broker, kafka__delivery_timeout_seconds=6)
    assert capture.ask(batch("1"))[0] == 200
    broker.kill()
    with ThreadPoolExecutor(2) as clients:
        waiting = clients.submit(capture.ask, batch("2"))
        assert waiting.result(WAIT_S)[0] == 503, "not acknowledged in time"
    wait_until(lambda: capture.ask(method="GET", path="/health/ready")[0] == 503, WAIT_S)
    status, body = capture.ask(batch("2"))
    assert (status, json.loads(body)["slug"]) == (503, "kafka_away")
    broker.start()
    wait_until(capture.ready, WAIT_S)
    assert capture.ask(batch("2"))[0] == 200
    found = [json.loads(record.value or b"") for record in records(broker)]
    ids = {
        event["data"]["event"]: {other["id"] for other in found if other["data"] == event["data"]} for event in found
    }
    assert {name: len(same) for name, same in ids.items()} == {"1": 1, "2": 1}
    assert capture.stop() == 0


@pytest.mark.long
def test_a_request_outlives_a_short_outage(ready_broker: Broker, start: Callable[..., Capture]) -> None:
    broker = ready_broker
    capture = start(broker)
    broker.kill()
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(capture.ask, batch("7"))
        broker.start()
        assert waiting.result(WAIT_S)[0] == 200
    assert names(records(broker)) == {"7": 1}


@pytest.mark.long
def test_a_missing_topic_is_told_at_once(fresh_broker: Broker, start: Callable[..., Capture], tmp_path: Path) -> None:
    early = Capture(fresh_broker, tmp_path, free_port())
    try:
        assert early.process.wait(WAIT_S) == 78
    finally:
        early.process.kill()
    said = early.log.read_text()
    assert "topics dead_letter, events_plugin_ingestion do not exist; create them with `streamapp topics apply`" in said

    capture = start(fresh_broker)
    admin = AdminClient({"bootstrap.servers": fresh_broker.bootstrap, "log_level": 0})

    def health() -> tuple[int, Any]:
        status, body = capture.ask(method="GET", path="/health/ready")
        return status, json.loads(body)

    assert (capture.ask(batch("1"))[0], capture.ask(b"{")[0]) == (200, 400)
    admin.delete_topics(["dead_letter"])["dead_letter"].result(WAIT_S)
    wait_until(lambda: health()[0] == 503, 15)
    assert health()[1]["missing_topics"] == ["dead_letter"]
    assert "streamapp topics apply" in health()[1]["error"]
    status, body = capture.ask(b"{")
    assert (status, json.loads(body)["slug"]) == (503, "topic_missing")
    assert capture.ask(batch("2"))[0] == 200, "nothing of it needs dead_letter"

    admin.delete_topics([EVENTS])[EVENTS].result(WAIT_S)
    began_s = monotonic_s()
    status, body = capture.ask(batch("3"))
    assert (status, json.loads(body)["slug"]) == (503, "topic_missing")
    assert f"topic {EVENTS} does not exist" in json.loads(body)["error"]
    assert monotonic_s() - began_s < 20, "not after the delivery timeout of 30 s"

    apply(Admin(KafkaSettings(bootstrap_servers=fresh_broker.bootstrap)), TOPICS, 1)
    wait_until(capture.ready, WAIT_S)
    wait_until(lambda: (capture.ask(batch("4"))[0], capture.ask(b"{")[0]) == (200, 400), WAIT_S)
    assert capture.stop() == 0
    assert {"4"} <= names(records(fresh_broker)).keys() <= {"3", "4"}


@pytest.mark.long
def test_a_new_token_is_known_within_a_moment(
    ready_broker: Broker, start: Callable[..., Capture], tmp_path: Path
) -> None:
    capture = start(ready_broker)
    body: dict[str, Any] = {"api_key": "ha_new", "event": "e", "distinct_id": "d"}
    assert capture.ask(json.dumps(body).encode(), "/e/")[0] == 401
    (tmp_path / "directory.toml").write_text(DIRECTORY.replace(f'"{TOKEN}"', f'"{TOKEN}", "ha_new"'))
    wait_until(lambda: capture.ask(json.dumps(body).encode(), "/e/")[0] == 200)
    (tmp_path / "directory.toml").write_text(DIRECTORY)
    wait_until(lambda: capture.ask(json.dumps(body).encode(), "/e/")[0] == 401)
