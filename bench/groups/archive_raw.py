"""Compress and put, and nothing else: the reference that audit-archive is held to, with objects as large and as old as
its settings say."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import obstore
import zstandard
from confluent_kafka import Consumer, Producer, TopicPartition
from obstore.store import LocalStore

from streamapp.settings import load

FETCH = 5_000


@dataclass
class Waiting:
    """What a partition's next object is made of."""

    since_s: float
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    last: int = 0


def main() -> None:
    """Read audit_log from its beginning until SIGTERM."""
    bootstrap, archive = os.environ["STREAM_KAFKA__BOOTSTRAP_SERVERS"], load().archive
    store = LocalStore(Path(os.environ["STREAM_STATE_DIR"]) / "raw", mkdir=True)
    settings = {"group.id": "archive-raw", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": bootstrap, **settings})
    counts = Producer({"bootstrap.servers": bootstrap})
    consumer.subscribe(["audit_log"])
    compressor = zstandard.ZstdCompressor(level=archive.zstd_level, write_checksum=True)
    waiting: dict[int, Waiting] = {}
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    while running:
        for message in consumer.consume(FETCH, timeout=0.1):
            value, one = message.value(), waiting.get(message.partition())
            if one is None:
                one = waiting[message.partition()] = Waiting(time.monotonic())
            one.lines.append(value)
            one.size_bytes += len(value)
            one.last = message.offset()
        for partition, one in list(waiting.items()):
            full = len(one.lines) >= archive.flush_records or one.size_bytes >= archive.flush_bytes
            if full or time.monotonic() - one.since_s >= archive.flush_seconds:
                name = f"partition={partition}/{one.last:020d}.jsonl.zst"
                data = compressor.compress(b"\n".join(one.lines))
                obstore.put(store, name, data, mode="create", use_multipart=False)
                counts.produce("dead_letter", str(len(one.lines)), str(partition))
                counts.flush()
                behind = TopicPartition("audit_log", partition, one.last + 1)
                consumer.commit(offsets=[behind], asynchronous=False)
                del waiting[partition]
    consumer.close()


if __name__ == "__main__":
    main()
