"""What `streamapp watch` costs: every group is behind and moves, so that each look has new dates to find. And how long
a look and a scrape of a thousand partitions take."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console

from bench.load import ROOM, Step, broker
from bench.proc import use_of
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import DAY_MS, GROUPS, TOPICS, topic
from streamapp.watch.lag import Watched
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.watcher import Watcher

BEHIND = 20  # records that each look finds on each partition beyond those of before
PAUSE_S = 13.0
WIDE, PARTITIONS = "wide", 1000


def lag(seconds: int, step: Step, console: Console) -> None:
    """Print the figures."""
    folder = ROOM / "run" / "lag"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with broker(folder / "broker") as running:
        kafka = KafkaSettings(bootstrap_servers=running.bootstrap)
        apply(Admin(kafka), TOPICS, 1)
        port = free_port()
        ours = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": running.bootstrap, "STREAM_WATCH__PORT": str(port)}
        process = subprocess.Popen([sys.executable, "-m", "streamapp", "watch"], env={**os.environ, **ours})
        try:
            _scraped(port)
            before, begun_s = use_of([process.pid]), time.monotonic()
            for round_ in range(max(1, round(seconds / PAUSE_S))):
                _move(running.bootstrap, round_)
                _scraped(port)
                time.sleep(PAUSE_S)
                step("watching", round_ + 1, round(seconds / PAUSE_S))
            after, took_s = use_of([process.pid]), time.monotonic() - begun_s
        finally:
            process.terminate()
            process.wait(30)
        share = (after.cpu_us - before.cpu_us) / 1e4 / took_s
        size = f"{after.rss_bytes / 2**20:.0f} MiB, start {before.cpu_us / 1e6:.1f} s CPU"
        console.print(f"watch: {share:.2f} % of a core over {took_s:.0f} s, {size}")
        _wide(kafka, running.bootstrap, console)
    shutil.rmtree(folder)


def _move(bootstrap: str, round_: int) -> None:
    """Records on every partition, and a commit of every group."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for name in {read for one in GROUPS for read in one.topics}:
        for number in range(topic(name).partitions):
            for _ in range(BEHIND):
                producer.produce(name, b"x", partition=number)
    producer.flush(30)
    for one in GROUPS:
        places = [(name, number) for name in one.topics for number in range(topic(name).partitions)]
        offsets = [TopicPartition(name, number, 1 + round_ * BEHIND) for name, number in places]
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": one.name, "enable.auto.commit": False})
        consumer.commit(offsets=offsets, asynchronous=False)
        consumer.close()


def _scraped(port: int) -> None:
    """Ask for the metrics; wait for a process that starts."""
    for _ in range(300):
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            answer.read()
            return
        time.sleep(0.2)
    raise SystemExit("the watch does not answer")


def _wide(kafka: KafkaSettings, bootstrap: str, console: Console) -> None:
    Admin(kafka, timeout_s=120).create(WIDE, PARTITIONS, 1, {})
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(PARTITIONS):
        producer.produce(WIDE, b"x", partition=number)
    producer.flush(60)
    registry = [Watched("wide-group", WIDE, PARTITIONS, DAY_MS)]
    watcher = Watcher(kafka, wall_ms, 15, registry=registry, timeout_s=60)
    look = _spent(lambda: asyncio.run(watcher.look()))
    scrape = _spent(lambda: WatchMetrics(lambda: watcher.known).exposition())
    found = len(watcher.known.series.groups["wide-group"].partitions)
    console.print(f"{found:,} partitions: a look takes {look}, a scrape {scrape}")


def _spent(work: Callable[[], object]) -> str:
    wall_s, cpu_s = time.monotonic(), time.process_time()
    work()
    return f"{time.process_time() - cpu_s:.3f} s CPU, {time.monotonic() - wall_s:.2f} s"
