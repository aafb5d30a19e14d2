"""What the pages show besides groups as they are now: waiting dead letters, capture, the charts of llm-metrics, the
last hour of each group, whether all records agree.

Each is asked behind the page, never by it: what does not answer is missing or marked, and nothing waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from streamapp.clock import Clock
from streamapp.dead_letters.recent import ENTRIES_MAX
from streamapp.facts.events import IncidentFacts
from streamapp.web.outside import Outside
from streamapp.web.pages.asked import Registered
from streamapp.web.pages.front.lags import Hours
from streamapp.web.pages.models.charts import Charts, Feed
from streamapp.web.workers.fleets import Fleets
from streamapp.web.workers.kept import Kept

LETTERS = "letters"  # the table of dead letters: its worker tells Prometheus, too, what waits
LETTERS_MS = 10_000  # each look connects to Kafka three times (docs/adr/0029)
CAPTURE_MS = 4_000
CHARTS_MS = 1_800
LAGS_MS = 5_000  # the watch looks more rarely
MONITOR = "dead-letter-monitor"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Dead letters that nobody has dealt with, among the newest; `all_of_them` is False when there may be more."""

    count: int
    all_of_them: bool
    oldest_ms: int | None = None  # when the oldest of them was refused
    redriven: int = 0  # dead letters that were sent again, of all


@dataclass(frozen=True, slots=True)
class Incidents:
    """Every incident that dead-letter-monitor knows, and who of its workers does not answer."""

    every: tuple[IncidentFacts, ...]
    silent: tuple[str, ...]
    asked: bool  # False: no worker of it is known

    @property
    def open(self) -> list[IncidentFacts]:
        """Those that go on, the newest first."""
        return sorted((one for one in self.every if one.opened_ms is not None), key=lambda one: -(one.opened_ms or 0))


@dataclass(frozen=True, slots=True)
class CaptureState:
    """Capture, as it answers at its address."""

    url: str
    ready: bool


class Extras:
    """The six questions."""

    def __init__(self, outside: Outside, fleets: Fleets, clock: Clock, timeout_s: float) -> None:
        self.reconciliation = outside.reconciliation
        self._fleets = fleets
        self._letters, self._capture_url, self._timeout_s = outside.letters, outside.capture_url, timeout_s
        self.waiting: Kept[Waiting] = Kept(self._waiting, clock, fresh_ms=LETTERS_MS)
        self.capture: Kept[CaptureState | None] = Kept(self._capture, clock, fresh_ms=CAPTURE_MS)
        self.lags: Kept[Hours] = Kept(outside.watch, clock, fresh_ms=LAGS_MS)
        self.subjects: Kept[list[Registered]] = Kept(outside.subjects, clock, fresh_ms=CAPTURE_MS)
        self.incidents: Kept[Incidents] = Kept(self._incidents, clock, fresh_ms=CAPTURE_MS)
        self.charts: Kept[Charts] = Kept(Feed(fleets, timeout_s).ask, clock, fresh_ms=CHARTS_MS)

    async def _incidents(self) -> Incidents:
        await self._fleets.standings.sure()
        answers = await self._fleets.of(MONITOR).ask("incidents", {}, list[IncidentFacts])
        found = tuple(one for answer in answers for one in answer.value or [])
        return Incidents(found, tuple(answer.worker for answer in answers if answer.stale), bool(answers))

    async def _waiting(self) -> Waiting:
        recent = await self._letters.recent()

        def counted() -> Waiting:
            waiting = [one.letter.failed_ms for one in recent.entries if recent.done.state(one.letter) == "waiting"]
            redriven = sum(receipt.state == "redriven" for receipt in recent.done.by_letter.values())
            all_of_them = len(recent.entries) < ENTRIES_MAX
            return Waiting(len(waiting), all_of_them, min(waiting, default=None), redriven)

        return await asyncio.to_thread(counted)

    async def _capture(self) -> CaptureState | None:
        if not self._capture_url:
            return None
        try:
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self._capture_url}/health/ready", allow_redirects=False) as answer,
            ):
                return CaptureState(self._capture_url, answer.status == 200)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None  # it may be on another host: that is not known here
