"""How long it takes: from an event to its row and to its team's budget, from the watermark to the bill.

Events are sent at an even rate with an event time that runs faster than the wall clock, so that hours close during the
run. A row is visible when a reader with `read_committed` gets the position row of its transaction from the changelog;
a bill is, when such a reader gets it from `billing_events`. All moments are read in this one process.
"""

from __future__ import annotations

import bisect
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message
from rich.console import Console

from bench.contender import Run
from bench.contenders import OURS_GROUP, ours_command, ours_environment
from bench.events import PARTITIONS, Event, Shape, generate
from bench.figure import TEAM, Figures
from bench.load import CACHE, ROOM, SOURCE, Step, broker, producer
from bench.watch import started
from streamapp.broker.train import train
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.provision import apply
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.settings import KafkaSettings
from streamapp.store.position import POSITION_KEY, unpack_position
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS, changelog
from tables.window import HOUR_MS, Rules

BILLS = "billing_events"
CHANGELOG = changelog(OURS_GROUP, "usage_hourly")
READY_S = 60
SETTLE_S = 30
SLICE_S = 0.01  # events are sent in slices of this
WARM_SHARE = 0.2  # of the events: sent, but not counted


@dataclass
class Seen:
    """Moments, in seconds of the monotonic clock. Offsets index the lists of a partition."""

    sent_s: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    acked_s: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    at_ms: list[list[int]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    visible: list[list[tuple[int, float]]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    bills: list[tuple[int, int, float]] = field(default_factory=list)  # partition, hour, moment

    def sent(self) -> int:
        return sum(map(len, self.acked_s))

    def done(self) -> int:
        return sum(rows[-1][0] for rows in self.visible if rows)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds. Raises ValueError when there are no values."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return {
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 1),
        "max_ms": round(1000 * ordered[-1], 1),
    }


def row_delays(seen: Seen, since: Sequence[Sequence[float]]) -> list[float]:
    """For each event: from its moment in `since` to the commit that made it visible. The first fifth is left out."""
    delays = []
    for partition in range(PARTITIONS):
        ends = [end for end, _ in seen.visible[partition]]
        for offset in range(int(len(since[partition]) * WARM_SHARE), len(since[partition])):
            at = bisect.bisect_right(ends, offset)
            if at < len(ends):
                delays.append(max(0.0, seen.visible[partition][at][1] - since[partition][offset]))
    return delays


def bill_delays(seen: Seen, rules: Rules) -> list[float]:
    """For each bill: from the acknowledgement of the event that moved its partition's watermark past the mark."""
    marks: dict[tuple[int, int], float] = {}
    for partition in range(PARTITIONS):
        watermark_ms = -1
        for at_ms, acked_s in zip(seen.at_ms[partition], seen.acked_s[partition], strict=True):
            if at_ms <= watermark_ms:
                continue
            passed_ms = at_ms - rules.grace_ms
            if watermark_ms >= 0 and passed_ms // HOUR_MS > (watermark_ms - rules.grace_ms) // HOUR_MS:
                marks[partition, passed_ms // HOUR_MS * HOUR_MS - HOUR_MS] = acked_s
            watermark_ms = at_ms
    return [max(0.0, bill_s - marks[where, hour]) for where, hour, bill_s in seen.bills if (where, hour) in marks]


def latency(rate: int, seconds: int, file: Path, step: Step, console: Console) -> None:
    """Send, watch, print p50 and p99. Raises RuntimeError when the worker does not follow."""
    folder = ROOM / "run" / "latency"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    train(CACHE)
    events = list(generate(Shape(rate * seconds)))
    try:
        with broker(folder / "broker") as running:
            apply(Admin(KafkaSettings(bootstrap_servers=running.bootstrap)), TOPICS, 1)
            run, seen = Run(running.bootstrap, folder), Seen()
            environment = ours_environment(run)
            figures = Figures(environment)
            with (
                started((ours_command(run),), environment, folder, signal.SIGTERM),
                watched(run.bootstrap, seen),
                figures.polled(),
            ):
                _await_member(run.bootstrap)
                sent_s = _send(run.bootstrap, events, rate, seen, step)
                _await(lambda: seen.done() >= len(events), SETTLE_S, "the worker did not follow")
                time.sleep(1)  # the bills of the last commit
    finally:
        shutil.rmtree(folder / "broker", ignore_errors=True)
    report: dict[str, Any] = {
        "rate": round(len(events) / sent_s),
        "event_sent_to_row": quantiles(row_delays(seen, seen.sent_s)),
        "event_acknowledged_to_row": quantiles(row_delays(seen, seen.acked_s)),
        "event_acknowledged_to_budget": quantiles(_budget_delays(seen, figures, events)),
        "budget_answered": {**quantiles(figures.answered()), "answers": len(figures.answers)},
        "mark_to_bill": {**quantiles(bill_delays(seen, Rules())), "bills": len(seen.bills)},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2) + "\n")
    for name, values in report.items():
        console.print(f"{name.replace('_', ' ')}: {_words(values)}")


def _budget_delays(seen: Seen, figures: Figures, events: Sequence[Event]) -> list[float]:
    """Events of the team that is watched, with their acknowledgements."""
    home = partition_for(TEAM.encode(), PARTITIONS)
    there = [event for event in events if partition_for(event.key.encode(), PARTITIONS) == home]
    mine = [(event, acked_s) for event, acked_s in zip(there, seen.acked_s[home], strict=True) if event.key == TEAM]
    return figures.delays([event for event, _ in mine], [acked_s for _, acked_s in mine], WARM_SHARE)


def _words(values: Any) -> str:
    if isinstance(values, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in values.items())
    return f"{values:,} events/s"


def _send(bootstrap: str, events: Sequence[Event], rate: int, seen: Seen, step: Step) -> float:
    """Send at the rate; returns how many seconds it took."""
    client = producer(bootstrap)

    def told(error: object, message: Message) -> None:
        if error is not None:
            raise RuntimeError(str(error))
        acked = seen.acked_s[message.partition()]
        assert message.offset() == len(acked), "one producer, in order, idempotent"
        acked.append(time.monotonic())

    homes = {key: partition_for(key.encode(), PARTITIONS) for key in {event.key for event in events}}
    began, a_slice = time.monotonic(), max(1, int(rate * SLICE_S))
    for start in range(0, len(events), a_slice):
        while (early := began + start / rate - time.monotonic()) > 0:
            client.poll(early)
        for event in events[start : start + a_slice]:
            home = homes[event.key]
            seen.sent_s[home].append(time.monotonic())
            seen.at_ms[home].append(event.at_ms)
            client.produce(SOURCE, event.value, event.key, timestamp=event.at_ms, on_delivery=told)
        client.poll(0)
        step("sending", start, len(events))
    client.flush()
    return time.monotonic() - began


@contextmanager
def watched(bootstrap: str, seen: Seen) -> Iterator[None]:
    """Read the changelog and the bills beside the block."""
    stop = threading.Event()
    thread = threading.Thread(target=_read, args=(bootstrap, seen, stop), name="latency-reader")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _read(bootstrap: str, seen: Seen, stop: threading.Event) -> None:
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": "latency-reader",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 10,
        "log_level": 2,
    }
    consumer, bill = Consumer(config), msgspec.json.Decoder()
    consumer.subscribe([CHANGELOG, BILLS])
    try:
        while not stop.is_set():
            for message in consumer.consume(5_000, timeout=0.005):
                now = time.monotonic()
                if message.error() is not None:
                    continue
                if message.topic() == CHANGELOG:
                    if message.key() == POSITION_KEY:
                        position = unpack_position(message.value())
                        seen.visible[message.partition()].append((position.next_offset, now))
                else:
                    data = bill.decode(message.value())["data"]
                    start_ms = parse_ms(data["period_start"])
                    assert start_ms is not None
                    seen.bills.append((data["coverage"]["partition"], start_ms, now))
    finally:
        consumer.close()


def _await_member(bootstrap: str) -> None:
    """Until the worker has its partitions, so that its start is not part of any delay."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def assigned() -> bool:
        group = admin.describe_consumer_groups([OURS_GROUP])[OURS_GROUP].result(timeout=10)
        return any(member.assignment.topic_partitions for member in group.members)

    _await(assigned, READY_S, "the worker did not take its partitions")


def _await(condition: Callable[[], bool], timeout_s: float, problem: str) -> None:
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except Exception as error:
            problem = f"{problem.split(':')[0]}: {error}"
        if time.monotonic() > end_s:
            raise RuntimeError(problem)
        time.sleep(0.2)
