"""Compress and put, and nothing else: the reference that audit-archive is held to."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path

import obstore
import zstandard
from confluent_kafka import Consumer, Producer, TopicPartition
from obstore.store import LocalStore

RECORDS, BYTES, LEVEL = 50_000, 16 << 20, 9
BATCH = 5_000


def main() -> None:
    """Read audit_log from its beginning until SIGTERM."""
    bootstrap = os.environ["STREAM_KAFKA__BOOTSTRAP_SERVERS"]
    store = LocalStore(Path(os.environ["STREAM_STATE_DIR"]) / "raw", mkdir=True)
    settings = {"group.id": "archive-raw", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": bootstrap, **settings})
    counts = Producer({"bootstrap.servers": bootstrap})
    consumer.subscribe(["audit_log"])
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    waiting: dict[int, list[bytes]] = defaultdict(list)
    last: dict[int, int] = {}
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    while running:
        messages = consumer.consume(BATCH, timeout=0.5)
        for message in messages:
            waiting[message.partition()].append(message.value())
            last[message.partition()] = message.offset()
        for partition, lines in list(waiting.items()):
            full = len(lines) >= RECORDS or sum(map(len, lines)) >= BYTES
            if lines and (full or not messages):
                name = f"partition={partition}/{last[partition]:020d}.jsonl.zst"
                obstore.put(store, name, compressor.compress(b"\n".join(lines)), mode="create", use_multipart=False)
                counts.produce("dead_letter", str(len(lines)), str(partition))
                counts.flush()
                consumer.commit(
                    offsets=[TopicPartition("audit_log", partition, last[partition] + 1)], asynchronous=False
                )
                waiting[partition] = []
    consumer.close()


if __name__ == "__main__":
    main()
