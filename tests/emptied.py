"""A broker that a test had for itself is made as good as new for the next: a start of Java costs many times as much.

What tests leave on a broker stands in topics, also in Kafka's own: groups, their members and offsets in
`__consumer_offsets`, transactional ids in `__transaction_state`. Kafka makes its own topics again when somebody asks.
Users, rights and settings of a broker would stay: a test of those has a broker that was made for it (`new_broker`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaException

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s
from streamapp.kafka.admin_client import AdminClient

SOON = {"log.segment.delete.delay.ms": "1000"}  # else what was deleted stays on the disk for a minute
ANSWER_S = 10


class Emptied:
    """The broker of a test alone: that of the test before, emptied, or a new one where that does not answer."""

    def __init__(self, make: Callable[[], Broker]) -> None:
        self._make = make
        self._broker: Broker | None = None

    def next(self) -> Broker:
        """A running broker without a topic."""
        if self._broker is None or not _emptied(self._broker):
            self.end()
            self._broker = self._make()
            self._broker.start()
        return self._broker

    def end(self) -> None:
        if self._broker is not None:
            self._broker.kill()


def _emptied(broker: Broker) -> bool:
    """Whether it runs and has no topic any more."""
    if broker.pid is None:
        return False
    client, end_s = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0}), monotonic_s() + ANSWER_S
    with suppress(KafkaException):
        while monotonic_s() < end_s:
            topics = list(client.list_topics(timeout=ANSWER_S).topics)
            if not topics:
                return True
            for deleted in client.delete_topics(topics).values():
                with suppress(KafkaException):  # it was deleted the last time, and is told of still
                    deleted.result(ANSWER_S)
            threading.Event().wait(0.02)
    return False
