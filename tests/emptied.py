"""A broker that a test had for itself is made as good as new for the next: a start of Java costs many times as much.

What tests leave on a broker stands in topics, also in Kafka's own: groups, their members and offsets in
`__consumer_offsets`, transactional ids in `__transaction_state`. Kafka makes its own topics again when somebody asks.
Users, rights and settings of a broker would stay: a test of those has a broker that was made for it (`new_broker`).
A topic of the registry that nobody has written to or changed is as good as new: the next test of workers gets it as it
is. To delete and make the 92 partitions of all of them takes Kafka 0.7 s of processor time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaException

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s
from streamapp.errors import StreamError
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.provision import apply, have
from streamapp.settings import KafkaSettings
from streamapp.topics.plan import plan
from streamapp.topics.registry import TOPICS

# A broker that nobody asks anything wakes up half as often: a test asks for little, and six brokers wait at a time.
QUIET = {
    "metadata.max.idle.interval.ms": "0",
    "num.io.threads": "2",
    "num.network.threads": "1",
    "background.threads": "2",
}
SOON = {**QUIET, "log.segment.delete.delay.ms": "1000"}  # else what was deleted stays on the disk for a minute
ANSWER_S = 10


class Emptied:
    """The broker of a test alone: that of the test before, emptied, or a new one where that does not answer."""

    def __init__(self, make: Callable[[], Broker]) -> None:
        self._make = make
        self._broker: Broker | None = None

    def next(self) -> Broker:
        """A running broker without a topic."""
        return self._next(lambda broker: frozenset())

    def ready(self) -> Broker:
        """A running broker with the registry's topics, all empty."""
        broker = self._next(_untouched)
        admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        apply(admin, TOPICS, 1)
        admin.committed("nobody", [])  # a broker that makes `__consumer_offsets` anew says at first that it has it not
        return broker

    def _next(self, kept: Callable[[Broker], frozenset[str]]) -> Broker:
        if self._broker is None or not _emptied(self._broker, kept):
            self.end()
            self._broker = self._make()
            self._broker.start()
        return self._broker

    def end(self) -> None:
        if self._broker is not None:
            self._broker.kill()


def _untouched(broker: Broker) -> frozenset[str]:
    """The topics of the registry that are as `apply` makes them, and nobody has ever written to."""
    there = have(Admin(KafkaSettings(bootstrap_servers=broker.bootstrap), timeout_s=ANSWER_S), TOPICS)
    found = plan(TOPICS, there, 1)
    changed = {item.topic for item in (*found.changes, *found.drifts)}
    return frozenset(name for name, state in there.items() if not state.written and name not in changed)


def _emptied(broker: Broker, kept: Callable[[Broker], frozenset[str]]) -> bool:
    """Whether it runs and has no topic any more besides those that are kept."""
    if broker.pid is None:
        return False
    client, end_s = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0}), monotonic_s() + ANSWER_S
    with suppress(KafkaException, StreamError):
        left = kept(broker)
        while monotonic_s() < end_s:
            topics = list(client.list_topics(timeout=ANSWER_S).topics.keys() - left)
            if not topics:
                return True
            for deleted in client.delete_topics(topics).values():
                with suppress(KafkaException):  # it was deleted the last time, and is told of still
                    deleted.result(ANSWER_S)
            threading.Event().wait(0.02)
    return False
