"""What a broker tells Prometheus of itself: the standard's names, and values that are true."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer
from conftest import wait_until
from prometheus_client.parser import text_string_to_metric_families
from promtool import check_metrics

from streamapp.broker.broker import Broker
from streamapp.broker.exporter import agent
from streamapp.clock import monotonic_s
from streamapp.processes.child import free_port

TOPIC_TOOL = "org.apache.kafka.tools.TopicCommand"
TICK_S = 5.0  # Kafka's meters are brought up to date so often
ALPHA = 1 - math.exp(-TICK_S / 60)  # what a tick counts in a mean of one minute
TICKS = 3
ATTEMPTS = 15  # a busy machine sees a tick too late, or two of them as one: then nothing is known
VALUE = b"v" * 100
AT_ONCE = 20
NAMES = {
    "kafka_active_controllers",
    "kafka_bytes_in_per_sec",
    "kafka_bytes_out_per_sec",
    "kafka_log_size_bytes",
    "kafka_messages_in_per_sec",
    "kafka_offline_log_directories",
    "kafka_offline_partitions",
    "kafka_raft_state",
    "kafka_request_handler_idle_ratio",
    "kafka_under_min_isr_partitions",
    "kafka_under_replicated_partitions",
}


class Load:
    """A producer at a steady rate, in a thread of its own. `sent` are acknowledged."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 5})
        self._topic, self._ended, self.sent = topic, threading.Event(), 0
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._ended.wait(0.02):
            for _ in range(AT_ONCE):
                self._producer.produce(self._topic, VALUE)
            assert self._producer.flush(30) == 0
            self.sent += AT_ONCE


def test_names_and_values_are_those_of_the_standard(
    new_broker: Callable[..., Broker], formatted: Path, cache_dir: Path
) -> None:
    port = free_port()
    broker = new_broker(formatted, jvm_flags=agent(cache_dir, port))
    broker.start(120)

    def exposition() -> bytes:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def value(name: str) -> float:
        families = text_string_to_metric_families(exposition().decode())
        (found,) = [sample.value for family in families for sample in family.samples if sample.name == name]
        return found

    made = broker.tool(TOPIC_TOOL, "--create", "--topic", "llm_usage", "--partitions", "2")
    assert made.returncode == 0, made  # Kafka's tools work beside the agent

    def sized() -> set[tuple[str, str]]:
        told = {family.name: family for family in text_string_to_metric_families(exposition().decode())}
        return {(one.labels["topic"], one.labels["partition"]) for one in told["kafka_log_size_bytes"].samples}

    wait_until(lambda: sized() >= {("llm_usage", "0"), ("llm_usage", "1")})
    first = exposition()
    check_metrics(first, but="_per_sec metric names should not contain abbreviated units")
    names = {family.name for family in text_string_to_metric_families(first.decode())}
    assert {name for name in names if name.startswith("kafka_")} == NAMES
    assert value("kafka_active_controllers") == 1
    assert value("kafka_under_replicated_partitions") == value("kafka_offline_partitions") == 0

    with Load(broker, "llm_usage") as load:
        for _ in range(ATTEMPTS):
            ticks = [tick(load, lambda: value("kafka_messages_in_per_sec")) for _ in range(TICKS)]
            lowest, highest = bounds(ticks)
            if highest <= 1.2 * lowest and all(after.at_s - one.at_s < 1.5 * TICK_S for one, after in pairwise(ticks)):
                break
        else:
            pytest.fail(f"no ticks that were seen in time: {ticks}")
        shown = ticks[-1].shown
    assert 0.95 * lowest <= shown <= 1.05 * highest, (ticks, lowest, highest)
    assert value("kafka_bytes_in_per_sec") > 100 * 0.9 * shown


class Tick(NamedTuple):
    """The mean behind a tick of the meter, and between which numbers the count of records was then."""

    low: int
    shown: float
    high: int
    at_s: float  # when it was seen


def bounds(ticks: Sequence[Tick]) -> tuple[float, float]:
    """Between which the last one's mean must be. The first is where the mean stood: it may have been the meter's first
    tick, which is no mean yet."""
    lows, highs, first = [one.low for one in ticks], [one.high for one in ticks], ticks[0].shown
    return mean(first, [*highs[:-1], lows[-1]]), mean(first, [*lows[:-1], highs[-1]])


def tick(load: Load, value: Callable[[], float]) -> Tick:
    """The next one: it came between two answers."""
    before, last = load.sent, value()
    asked, shown = [before, before], [last]

    def moved() -> bool:
        asked[:] = [asked[1], load.sent]
        shown[:] = [value()]
        return shown != [last]

    wait_until(moved, 30)
    return Tick(asked[0], shown[0], load.sent + AT_ONCE, monotonic_s())


def mean(found: float, counts: list[int]) -> float:
    """A mean of one minute behind ticks that found these counts, where the first of them made it `found`."""
    before = counts[0]
    for count in counts[1:]:
        found += ALPHA * ((count - before) / TICK_S - found)
        before = count
    return found
