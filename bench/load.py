"""The prepared topic: events made once, loaded once into a broker, whose data directory then serves as the template.

Every run gets a copy of it, so every contender starts from the same state: `llm_usage` full, everything else empty.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from bench import oracle
from bench.events import PARTITIONS, Event, Shape, generate
from streamapp.broker.broker import Broker
from streamapp.broker.train import train
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.provision import apply
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS

PROJECT = Path(__file__).parent.parent
CACHE = PROJECT / ".cache"
ROOM = CACHE / "bench"
SOURCE = "llm_usage"
RESULTS = "bench_hourly"  # where contenders without a result topic of their own state their hours
HEAP_MB = 512
RECORDS_PER_STEP = 10_000

# The events are old: nothing may expire during a run.
PROPERTIES = {"log.initial.task.delay.ms": "86400000", "log.retention.check.interval.ms": "86400000"}

T = TypeVar("T")
Step = Callable[[str, int, int], None]
"""(what, done, of): told now and then how far a preparation is."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A topic that is ready to be read, and the right answer."""

    shape: Shape
    template: Path
    expected: oracle.Answer
    source: str = SOURCE
    partitions: int = PARTITIONS


def prepare(shape: Shape, step: Step) -> Prepared:
    """Make what is not there yet: events, the right answer, the template."""
    room = ROOM / shape.name
    room.mkdir(parents=True, exist_ok=True)
    events, answer, template = room / "events.tsv", room / "oracle.json", room / "broker"
    if not events.exists():
        write(events, shape, step, generate(shape))
    if not answer.exists():
        values = counted("computing the right answer", shape, step, (event.value for event in read(events)))
        answer.write_text(oracle.dump(oracle.totals_of(values)))
    if not template.exists():
        load(template, events, shape, step)
    return Prepared(shape, template, oracle.parse(answer.read_text()))


def read(path: Path) -> Iterator[Event]:
    """The events in a file: key, time and value, separated by tabs, one per line."""
    with path.open() as file:
        for line in file:
            key, at_ms, value = line.rstrip("\n").split("\t")
            yield Event(key, int(at_ms), value)


def broker(folder: Path) -> Broker:
    """A broker on a data directory, with the settings of every run."""
    return Broker(folder, cache_dir=CACHE, heap_mb=HEAP_MB, properties=PROPERTIES)


def write(path: Path, shape: Shape, step: Step, events: Iterator[Event]) -> None:
    """Write a shape's events into a file, all or nothing; `read` is the inverse."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("w") as file:
        for event in counted("generating", shape, step, events):
            file.write(f"{event.key}\t{event.at_ms}\t{event.value}\n")
    unfinished.rename(path)


def load(template: Path, events: Path, shape: Shape, step: Step, topic: str = SOURCE) -> None:
    """Make a broker's data directory with the registry's topics, and the events in one of them."""
    train(CACHE)
    unfinished = template.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    with broker(unfinished) as running:
        apply(Admin(KafkaSettings(bootstrap_servers=running.bootstrap)), TOPICS, 1)
        admin = AdminClient({"bootstrap.servers": running.bootstrap, "log_level": 2})
        admin.create_topics([NewTopic(RESULTS, PARTITIONS, 1)])[RESULTS].result(timeout=30)
        send(running.bootstrap, counted("loading", shape, step, read(events)), topic)
    unfinished.rename(template)


def producer(bootstrap: str) -> Producer:
    """A producer with the settings of the project's own: lz4, idempotent, the Java client's partitioner."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "log_level": 2,
            "batch.size": 131_072,
            "queue.buffering.max.messages": 200_000,
        }
    )


def send(bootstrap: str, events: Iterator[Event], topic: str = SOURCE) -> None:
    """Produce the events in order and wait for all acknowledgements. Raises RuntimeError if one fails."""
    client = producer(bootstrap)
    failed: list[str] = []

    def told(error: object, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    for event in events:
        while True:
            try:
                client.produce(topic, event.value, event.key, timestamp=event.at_ms, on_delivery=told)
                break
            except BufferError:
                client.poll(0.1)
        client.poll(0)
    client.flush()
    if failed:
        raise RuntimeError(f"{len(failed)} events were not loaded: {failed[0]}")


def counted(what: str, shape: Shape, step: Step, items: Iterator[T]) -> Iterator[T]:
    """The items, told to `step` as they pass."""
    for number, item in enumerate(items):
        if number % RECORDS_PER_STEP == 0:
            step(what, number, shape.records)
        yield item
    step(what, shape.records, shape.records)
