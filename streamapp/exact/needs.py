"""Whether the topics that a worker needs exist: asked before it joins its group, and again and again while it runs.

Faust and aiokafka only log a warning about a topic that does not exist, and wait for it for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.handshake import demand_agreement
from streamapp.settings import KafkaSettings

PATIENCE_S = 10.0
LOOK_S = 5.0  # between two looks while the worker runs


def missing_text(topics: Iterable[str]) -> str:
    """One sentence: which topics are missing and what to do."""
    return f"topics are missing: {', '.join(topics)}; create them with `streamapp topics apply`"


class Needs:
    """The topics of one worker. `missing` is what the last look found; an answer that never came changes nothing."""

    def __init__(self, topics: Sequence[str], there: Callable[[], frozenset[str]]) -> None:
        self._topics = topics
        self._there = there
        self.missing: tuple[str, ...] = ()

    def demand(self) -> None:
        """Raise `Misconfigured` when a topic is missing, `Unavailable` when Kafka does not answer. Blocks."""
        there = self._there()
        missing = tuple(topic for topic in self._topics if topic not in there)
        if missing:
            raise Misconfigured(missing_text(missing))

    def look(self) -> bool:
        """Ask again. Returns whether `missing` changed. Raises `Misconfigured` when Kafka refuses. Blocks."""
        before = self.missing
        try:
            there = self._there()
        except Unavailable:
            return False  # the pages and the commits tell of it
        self.missing = tuple(topic for topic in self._topics if topic not in there)
        return self.missing != before


def topics_there(kafka: KafkaSettings) -> Callable[[], frozenset[str]]:
    """Asks the cluster for the names of its topics; connects at the first question."""
    made: list[Admin] = []

    def ask() -> frozenset[str]:
        if not made:
            demand_agreement(kafka)
            made.append(Admin(kafka, timeout_s=PATIENCE_S))
        return made[0].topics()

    return ask
