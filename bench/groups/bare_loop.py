"""A bare loop over a topic: what the references of groups that keep records elsewhere have in common."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from confluent_kafka import Consumer, Message, Producer, TopicPartition

FETCH = 5_000
COUNTS = "dead_letter"  # where a bare loop says what it has kept: nobody else writes there in a run


class BareLoop:
    """Reads `topic` from its beginning, until SIGTERM, and says what was kept."""

    def __init__(self, topic: str, group: str) -> None:
        self._topic = topic
        bootstrap = {"bootstrap.servers": os.environ["STREAM_KAFKA__BOOTSTRAP_SERVERS"]}
        own = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        self._consumer, self._counts = Consumer({**bootstrap, **own}), Producer(bootstrap)
        self._consumer.subscribe([topic])
        self._running = True
        signal.signal(signal.SIGTERM, self._stop)

    def fetched(self) -> Iterator[list[Message]]:
        """What has come since the last time, also when that is nothing."""
        while self._running:
            yield self._consumer.consume(FETCH, timeout=0.1)
        self._consumer.close()

    def kept(self, partition: int, count: int, last: int) -> None:
        """So many more records of a partition are kept, up to this offset."""
        self._counts.produce(COUNTS, str(count), str(partition))
        self._counts.flush()
        self._consumer.commit(offsets=[TopicPartition(self._topic, partition, last + 1)], asynchronous=False)

    def _stop(self, *_: object) -> None:
        self._running = False
