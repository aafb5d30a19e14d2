"""News of the processes, for a person: a broker that does not answer is one message, not one of each process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from streamapp.processes.supervisor import News

HOLD_S = 4.0  # so long a message waits: its cause may be known by then
AFTER_S = 30.0  # what processes report so long after Kafka answers again has the same cause


class Reporter:
    """Collects news and tells them with `tell`, which gets a line. The times are those of a monotonic clock."""

    def __init__(self, tell: Callable[[str], None], logs: Path) -> None:
        self._tell, self._logs = tell, logs
        self._waiting: deque[tuple[float, News]] = deque()
        self._away = False
        self._unanswered = 0
        self._back_s = float("-inf")
        self._held = 0

    def unanswered(self, why: str, now_s: float) -> None:
        """A question to Kafka had no answer in time. Once, the machine is busy; twice in a row, Kafka is away."""
        self._unanswered += 1
        if self._unanswered > 1:
            self.kafka(False, why, now_s)

    def kafka(self, answers: bool, why: str, now_s: float) -> None:
        """Whether Kafka is there; `why` not."""
        if answers:
            self._unanswered = 0
        if answers and self._away:
            held = f" Messages of processes about it, {self._held} in all, are in {self._logs}/." if self._held else ""
            self._tell(f"Kafka answers again.{held} No event is lost: the workers continue from their offsets.")
            self._held, self._back_s = 0, now_s
        elif not answers and not self._away:
            end = "" if why.endswith(("?", ".")) else "."
            self._tell(f"Problem: {why}{end} The processes wait for it.")
        self._away = not answers

    def add(self, news: Iterable[News], now_s: float) -> None:
        """Take news, and tell those that have waited long enough, and until it is known whether Kafka is away."""
        self._waiting.extend((now_s, one) for one in news)
        suspected = self._unanswered == 1
        while self._waiting and (self._away or (not suspected and now_s - self._waiting[0][0] >= HOLD_S)):
            since_s, one = self._waiting.popleft()
            if self._away or since_s - self._back_s < AFTER_S:
                self._held += 1
            else:
                self._tell(self._line(one))

    def flush(self) -> None:
        """Tell what waits, and how much was not told because Kafka was away shortly before."""
        for _, one in self._waiting:
            self._tell(self._line(one))
        self._waiting.clear()
        if self._held:
            self._tell(f"Further messages about Kafka's outage, {self._held} in all, are in {self._logs}/.")
            self._held = 0

    def _line(self, news: News) -> str:
        """A reader who looks for problems finds each by the word at its beginning."""
        log = f" (log: {self._logs}/{news.name}.log)" if news.said else ""
        return f"Problem: {news.name}{' reports' if news.said else ''}: {news.text}{log}"
