"""Whether the topics that a worker needs exist, and whether it may use them: asked before it joins its group, and again
and again while it runs.

Faust and aiokafka only log a warning about a topic that does not exist, and wait for it for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Misconfigured, Unavailable
from streamapp.kafka.acls import AccessAdmin
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.trouble import Right, lacks
from streamapp.settings import KafkaSettings

PATIENCE_S = 10.0
LOOK_S = 5.0  # between two looks while the worker runs
AGAIN_S = 0.2  # between two looks at the start


def missing_text(topics: Iterable[str]) -> str:
    """One sentence: which topics are missing and what to do."""
    return f"topics are missing: {', '.join(topics)}; create them with `streamapp topics apply`"


class Needs:
    """The topics of one worker. `missing` is what the last look found; an answer that never came changes nothing."""

    def __init__(self, topics: Sequence[str], there: Callable[[], frozenset[str]]) -> None:
        self._topics = topics
        self._there = there
        self.missing: tuple[str, ...] = ()

    def demand(self, patience_s: float = 0) -> None:
        """Raise `Misconfigured` when a topic is missing, and still is after `patience_s`: one that was just made is not
        known to every broker at once. Raise `Unavailable` when Kafka does not answer. Blocks."""
        end_s = monotonic_s() + patience_s
        while missing := self._missing():
            if monotonic_s() >= end_s:
                raise Misconfigured(missing_text(missing))
            threading.Event().wait(AGAIN_S)

    def look(self) -> bool:
        """Ask again. Returns whether `missing` changed. Raises `Misconfigured` when Kafka refuses. Blocks."""
        before = self.missing
        try:
            self.missing = self._missing()
        except Unavailable:
            return False  # the pages and the commits tell of it
        return self.missing != before

    def _missing(self) -> tuple[str, ...]:
        there = self._there()
        return tuple(topic for topic in self._topics if topic not in there)


def topics_there(kafka: KafkaSettings, rights: Sequence[Right]) -> Callable[[], frozenset[str]]:
    """Asks the cluster which of these topics there are; connects at the first question. The question raises
    `Denied` when a right is missing: without it a topic is as good as missing, and Kafka does not say which."""
    made: list[AccessAdmin] = []

    def ask() -> frozenset[str]:
        if not made:
            demand_agreement(kafka)
            made.append(AccessAdmin(kafka, timeout_s=PATIENCE_S))
        there = made[0].operations({right.name for right in rights})
        for right in rights:
            if right.operation not in there.get(right.name, {right.operation}):
                raise Denied(lacks(kafka.sasl_username, right))
        return frozenset(there)

    return ask
