"""A consumer of another process, that tests kill; and topics and groups as the watch is told of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CONSUMER = """
import sys
from confluent_kafka import Consumer, TopicPartition
servers, group, topic, upto = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "session.timeout.ms": 6000,
    "auto.offset.reset": "earliest", "isolation.level": "read_committed",
})
consumer.subscribe([topic])
last = -1
while True:
    message = consumer.poll(0.2)
    if message is not None and message.error() is None and message.offset() < int(upto):
        consumer.commit(offsets=[TopicPartition(topic, message.partition(), message.offset() + 1)], asynchronous=False)
"""


@contextmanager
def consuming(servers: str, group: str, topic: str, upto: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the group that commits what it reads below the offset `upto`, and stays. Killed in the end."""
    process = subprocess.Popen([sys.executable, "-c", CONSUMER, servers, group, topic, str(upto)])
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
