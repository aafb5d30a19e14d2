"""A long run at a steady rate: nothing may grow that has no reason to.

Event time runs so fast that the run sees 40 days: after the first half everything that expires has begun to, ids after
a day and rows after a fortnight. From then on memory, file descriptors, files on disk and lag must stay where they are.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import mean

from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.console import Console

from bench.contender import Run
from bench.contenders import OURS_GROUP, ours_command, ours_environment
from bench.events import PARTITIONS, Event, Shape, generate
from bench.load import CACHE, ROOM, SOURCE, Step, broker, producer
from bench.proc import PROC, use_of
from bench.watch import started
from streamapp.broker.train import train
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS

DAYS = 40
TEAMS = 100
PERIOD_S = 5.0
SLICE_S = 0.1  # events are sent in slices of this
GROWTH_MAX = 0.10  # of the last quarter over the third: buffers and compactions breathe, leaks do not stop
LAG_MAX_S = 2.0  # of records at the rate: what may be under way


@dataclass(frozen=True, slots=True)
class Reading:
    """The worker at one moment."""

    at_s: float
    rss_mb: float
    descriptors: int
    disk_mb: float
    lag: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Flat:
    """A measure's mean in the third quarter and in the last, and whether that is flat."""

    name: str
    third: float
    last: float
    limit: float

    @property
    def right(self) -> bool:
        return self.last <= self.limit


def verdict(readings: Sequence[Reading], rate: int) -> list[Flat]:
    """What grew in the second half. Raises ValueError for fewer than eight readings."""
    if len(readings) < 8:
        raise ValueError("too few readings: let it run longer")
    half, most = readings[len(readings) // 2 :], readings[len(readings) * 3 // 4 :]
    third = half[: len(half) - len(most)]
    found = []
    for name in ("rss_mb", "descriptors", "disk_mb"):
        before = mean(getattr(reading, name) for reading in third)
        found.append(Flat(name, before, mean(getattr(reading, name) for reading in most), before * (1 + GROWTH_MAX)))
    lag = [mean(reading.lag for reading in part) for part in (third, most)]
    return [*found, Flat("lag", lag[0], lag[1], rate * LAG_MAX_S)]


def soak(rate: int, minutes: float, file: Path, step: Step, console: Console) -> bool:
    """Run, print the readings' ends and the verdict. Returns whether everything stayed flat."""
    folder = ROOM / "run" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    train(CACHE)
    events = int(rate * minutes * 60)
    try:
        with broker(folder / "broker") as running:
            apply(Admin(KafkaSettings(bootstrap_servers=running.bootstrap)), TOPICS, 1)
            run = Run(running.bootstrap, folder)
            with started((ours_command(run),), ours_environment(run), folder, signal.SIGTERM) as processes:
                sender = Sender(running.bootstrap, Shape(events, TEAMS, hours=24 * DAYS), rate)
                sender.start()
                readings = []
                for reading in _readings(running.bootstrap, processes[0].pid, folder / "state", sender):
                    readings.append(reading)
                    step("soaking", sender.sent, events)
                sender.join()
    finally:
        shutil.rmtree(folder / "broker", ignore_errors=True)
    return _told(readings, rate, sender, file, console)


def _told(readings: Sequence[Reading], rate: int, sender: Sender, file: Path, console: Console) -> bool:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(reading) for reading in readings], indent=1) + "\n")
    found, first, last = verdict(readings, rate), readings[0], readings[-1]
    cpu = (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s)
    console.print(f"{sender.sent:,} events in {last.at_s - first.at_s:,.0f} s, {100 * cpu:.1f} % of a core")
    for flat in found:
        mark = "flat" if flat.right else "GREW"
        console.print(f"{flat.name:12} third quarter {flat.third:10,.1f}   last quarter {flat.last:10,.1f}   {mark}")
    if sender.problem:
        console.print(f"sending failed: {sender.problem}")
    return all(flat.right for flat in found) and not sender.problem


class Sender(threading.Thread):
    """Sends the events at an even rate."""

    def __init__(self, bootstrap: str, shape: Shape, rate: int) -> None:
        super().__init__(name="soak-sender", daemon=True)
        self.sent = 0
        self.ends = [0] * PARTITIONS  # offsets behind what was sent
        self.problem = ""
        self._client = producer(bootstrap)
        self._events = islice(generate(shape), shape.events)
        self._rate = rate

    def run(self) -> None:
        began = time.monotonic()
        while not self.problem and (some := list(islice(self._events, int(self._rate * SLICE_S)))):
            for event in some:
                self._send(event)
            early = began + self.sent / self._rate - time.monotonic()
            self._client.poll(0)
            time.sleep(max(0.0, early))
        self._client.flush()

    def _send(self, event: Event) -> None:
        def told(error: object, message: object) -> None:
            if error is not None:
                self.problem = str(error)

        self._client.produce(SOURCE, event.value, event.key, timestamp=event.at_ms, on_delivery=told)
        self.sent += 1
        self.ends[partition_for(event.key.encode(), PARTITIONS)] += 1


def _readings(bootstrap: str, pid: int, state: Path, sender: Sender) -> Iterator[Reading]:
    """A reading every few seconds, as long as events are sent."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": OURS_GROUP, "log_level": 2})
    began = time.monotonic()
    try:
        while sender.is_alive():
            sender.join(PERIOD_S)
            use = use_of([pid])
            yield Reading(
                time.monotonic() - began,
                use.rss_bytes / 1e6,
                sum(1 for _ in (PROC / str(pid) / "fd").iterdir()),
                _size(state) / 1e6,
                _lag(consumer, sender),
                use.cpu_us / 1e6,
            )
    finally:
        consumer.close()


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; RocksDB removes some meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def _lag(consumer: Consumer, sender: Sender) -> int:
    """Records that were sent and are not committed."""
    ends = list(sender.ends)
    try:
        places = consumer.committed([TopicPartition(SOURCE, number) for number in range(PARTITIONS)], timeout=5)
    except KafkaException:
        return sum(ends)
    return sum(max(0, ends[place.partition] - max(0, place.offset)) for place in places)
