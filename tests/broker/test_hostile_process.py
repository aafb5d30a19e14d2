"""A process of capture under hostile bodies: each is answered, what was taken is in Kafka once, memory stays flat."""

from __future__ import annotations

import gzip
import itertools
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from capture_bodies import hostile
from capture_calls import InMemory, directory_in
from captures import Capture, captures
from hypothesis import given, settings

from streamapp.broker.broker import Broker
from streamapp.kafka.log.reader import read

FIRST_ADDRESS = int(IPv6Address("2001:db8::1"))  # each request has its own
BODIES = 150  # that hypothesis finds
WARM_ROUNDS, ROUNDS = 2, 6  # in which all of them are sent again, eight at once; memory is measured between
GROWTH_KB_MAX = 24 << 10  # what an allocator keeps; one body of the largest that is let go too late is more
PEAK_KB_MAX = 64 << 10  # above that, for what is under way: the largest is a bomb that unpacks to 20 MiB
LARGE = [gzip.compress(b"\0" * (60 << 20), 1), b"x" * (21 << 20), b"[" * 2_000_000, b'{"token":' * 100_000]


class Expected(NamedTuple):
    """What a body must become, as capture in memory has it."""

    status: int
    said: bytes
    events: list[Any]
    letters: Counter[Any]


class Traffic:
    """Requests to a process, each from an address of its own, which its events keep."""

    def __init__(self, capture: Capture, folder: Path) -> None:
        self._capture, self._teams = capture, directory_in(folder)
        self._numbers = itertools.count()
        self._known: dict[bytes, Expected] = {}
        self.events: dict[str, list[Any]] = {}
        self.letters: Counter[Any] = Counter()
        self.answers: Counter[int] = Counter()

    def send(self, body: bytes) -> None:
        """One request; its answer is the one expected."""
        expected, address = self._expected(body), str(IPv6Address(FIRST_ADDRESS + next(self._numbers)))
        assert self._capture.ask(body, x_forwarded_for=address) == (expected.status, expected.said)
        self.answers[expected.status] += 1
        self.events[address] = expected.events
        self.letters.update(expected.letters)

    def send_all(self, bodies: Iterable[bytes]) -> None:
        """The same for many, eight at a time."""
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(self.send, bodies))

    def _expected(self, body: bytes) -> Expected:
        if body not in self._known:
            capture = InMemory(self._teams, unknown_letters_per_second=1e9)
            reply = capture.call(body)
            letters = [json.loads(value) for topic, _, value in capture.pipeline.written if topic == "dead_letter"]
            self._known[body] = Expected(reply.status, reply.body, list(map(content, capture.events())), cut(letters))
        return self._known[body]


def content(event: Any) -> Any:
    """What of an event comes from its sender."""
    return [event["data"].get(name) for name in ("event", "distinct_id", "properties", "session_id")]


def cut(letters: Iterable[Any]) -> Counter[Any]:
    """Of dead letters what comes from the sender, counted."""
    told = (letter["data"] for letter in letters)
    return Counter((one["reason"], one["error"], one.get("truncated"), b64decode(one["value_b64"])) for one in told)


@pytest.mark.long
def test_hostile_bodies_are_answered_and_kept_once_and_cost_no_memory(ready_broker: Broker, tmp_path: Path) -> None:
    with captures(tmp_path) as start:
        capture = start(ready_broker, capture__unknown_letters_per_second=1e9, capture__proxies=1)
        traffic = Traffic(capture, tmp_path)
        bodies: list[bytes] = list(LARGE)

        @settings(max_examples=BODIES, deadline=None)
        @given(body=hostile())
        def find(body: bytes) -> None:
            bodies.append(body)
            traffic.send(body)

        find()
        traffic.send_all(bodies * WARM_ROUNDS)
        before_kb = capture.memory_kb()
        traffic.send_all(bodies * ROUNDS)
        assert capture.memory_kb() - before_kb < GROWTH_KB_MAX
        assert capture.memory_kb(peak=True) - before_kb < PEAK_KB_MAX
        assert capture.stop() == 0
    assert traffic.answers.keys() == {200, 400, 401, 413}
    config = {"bootstrap.servers": ready_broker.bootstrap}
    kept: dict[str, list[Any]] = {address: [] for address in traffic.events}
    ids: Counter[str] = Counter()
    stated = {uuid for body in bodies for uuid in (b"019a95b0-7c1b-7a3f-8d2e-1f2a3b4c5d6e",) if uuid in body}
    for record in read(config, "events_plugin_ingestion"):
        event = json.loads(record.value or b"")
        kept[event["data"]["ip"]].append(content(event))
        if event["data"]["uuid"].encode() not in stated:
            ids[event["id"]] += 1
    assert kept == traffic.events
    letters = [json.loads(record.value or b"") for record in read(config, "dead_letter")]
    assert cut(letters) == traffic.letters
    ids.update(letter["id"] for letter in letters)
    assert ids.total() == len(ids) > BODIES
