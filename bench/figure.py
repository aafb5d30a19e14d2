"""How old the figure of a budget is: from an event's acknowledgement to the first answer that counts it."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import accumulate
from typing import Any
from urllib.error import URLError

from bench.events import Event

TEAM, ORG, CURRENCY = "team_000000", "org_00000", "USD"  # the busiest one: a tenth of the events
PAUSE_S = 0.02


class Figures:
    """Answers as they come: (moment it was asked, moment it came, spent)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._url = f"http://127.0.0.1:{environment['STREAM_WEB__PORT']}/budgets/{ORG}/{TEAM}.json"
        self.answers: list[tuple[float, float, Decimal]] = []

    def ask(self) -> None:
        """One question. A team without usage yet, or a worker that does not listen yet, is no answer."""
        asked_s = time.monotonic()
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
                said: dict[str, Any] = json.loads(answer.read())
        except (URLError, TimeoutError, ConnectionError):
            return
        months = [Decimal(month["spent"]) for month in said["currencies"] if month["currency"] == CURRENCY]
        self.answers.append((asked_s, time.monotonic(), sum(months, Decimal(0))))

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Ask beside the block, again and again."""
        stop = threading.Event()

        def poll() -> None:
            while not stop.wait(PAUSE_S):
                self.ask()

        thread = threading.Thread(target=poll, name="budget-poller")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.ask()

    def delays(self, events: Sequence[Event], acked_s: Sequence[float], share: float) -> list[float]:
        """For each of the team's events, in the order of the log: from its acknowledgement until the first answer that
        counts it has come. The first share is left out. `events`: of the team; `acked_s`: theirs."""
        costs = (Decimal(json.loads(event.value, parse_float=str)["data"]["cost_usd"]) for event in events)
        counted = [spent for _, _, spent in self.answers]
        found = []
        for number, spent in enumerate(accumulate(costs)):
            at = bisect_left(counted, spent)
            if number >= len(events) * share and at < len(counted):
                found.append(max(0.0, self.answers[at][1] - acked_s[number]))
        return found

    def answered(self) -> list[float]:
        """How long each answer took."""
        return [came_s - asked_s for asked_s, came_s, _ in self.answers]
