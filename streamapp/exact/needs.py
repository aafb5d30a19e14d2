"""Whether the topics that a worker needs exist: asked before it joins its group, and again and again while it runs.

Faust and aiokafka only log a warning about a topic that does not exist, and wait for it for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.handshake import demand_agreement
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


def topics_there(kafka: KafkaSettings) -> Callable[[], frozenset[str]]:
    """Asks the cluster for the names of its topics; connects at the first question."""
    made: list[Admin] = []

    def ask() -> frozenset[str]:
        if not made:
            demand_agreement(kafka)
            made.append(Admin(kafka, timeout_s=PATIENCE_S))
        return made[0].topics()

    return ask
