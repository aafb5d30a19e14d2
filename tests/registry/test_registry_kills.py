"""Two registries over one topic: killed while they write, and left without Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from registries import RegistryProcess

from streamapp.broker.broker import Broker
from streamapp.schemas.released import ID_MAX, newest

USAGE = "llm.usage.completed"
SCHEMAS = 200
KILLS_AT = (40, 90, 140, 170)  # acknowledged registrations


def numbered(number: int) -> dict[str, Any]:
    return {"type": "object", "title": f"number {number}", "properties": {f"field_{number}": {"type": "string"}}}


@pytest.fixture
def pair(ready_broker: Broker, until: Callable[..., None]) -> Iterator[list[RegistryProcess]]:
    both = [RegistryProcess(ready_broker.bootstrap).start() for _ in range(2)]
    try:
        until(lambda: all(one.health() == "ok" for one in both))
        yield both
    finally:
        for one in both:
            one.kill()


def registered(pair: list[RegistryProcess], number: int, prefer: int) -> int:
    """The id that one of the two answers, whichever is there; as clients do, until one of them does."""
    for attempt in count():
        with suppress(OSError):
            status, body = pair[(prefer + attempt) % 2].register(f"foreign-{number}", numbered(number))
            if status == 200:
                return int(body["id"])
            assert status == 503, body
        assert attempt < 2000
        threading.Event().wait(0.05)
    raise AssertionError("unreachable")


@pytest.mark.long
def test_ids_are_unique_and_dense_and_none_is_lost_whoever_is_killed(
    ready_broker: Broker, pair: list[RegistryProcess], until: Callable[..., None]
) -> None:
    answered: dict[int, int] = {}
    numbers = iter(range(SCHEMAS))
    lock = threading.Lock()

    def work(prefer: int) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            answered[number] = registered(pair, number, prefer)

    threads = [threading.Thread(target=work, args=(prefer,)) for prefer in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for turn, acknowledged in enumerate(KILLS_AT):
        until(lambda wanted=acknowledged: len(answered) >= wanted, timeout_s=120)
        pair[turn % 2].kill()
        pair[turn % 2].start()
    for thread in threads:
        thread.join(200)
    assert sorted(answered.values()) == list(range(ID_MAX + 1, ID_MAX + 1 + SCHEMAS))
    until(lambda: all(one.health() == "ok" for one in pair))
    for one in pair:
        for number, expected in answered.items():
            status, body = one.ask("GET", f"/schemas/ids/{expected}/versions")
            assert (status, body) == (200, [{"subject": f"foreign-{number}", "version": 1}])
    without_kafka(ready_broker, pair, answered[7], until)


def without_kafka(broker: Broker, pair: list[RegistryProcess], known: int, until: Callable[..., None]) -> None:
    """Reading goes on, also of a process that never saw Kafka; writing is answered 503."""
    broker.stop()
    pair[1].kill()
    pair[1].start()
    until(lambda: all(one.health() == "blind" for one in pair), timeout_s=60)
    assert pair[0].ask("GET", f"/schemas/ids/{known}")[0] == 200
    for one in pair:
        assert one.ask("GET", "/subjects/llm_usage-llm.usage.completed/versions/latest")[1]["id"] == newest(USAGE).id
        assert one.ask("GET", "/schemas/ids/10")[0] == 200
        status, body = one.register("foreign-new", numbered(-1))
        assert (status, body["error_code"]) == (503, 50001)
    status, body = pair[1].ask("GET", f"/schemas/ids/{known}")
    assert (status, body["error_code"]) == (503, 50001), "what only the topic tells is not denied"
