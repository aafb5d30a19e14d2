"""Carries notices to their destinations, beside the stream: whoever is slow or dead holds up nobody.

What is on its way is in memory only; the table knows what is owed, and a takeover offers it again. The courier touches
no rows: what has arrived is asked for by the next chunk or tick, which writes it down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.faust.failstop import failstop
from streamapp.notices.alerts import Alerts, Answer, Backoff, Happening, Later, Never, Notice
from streamapp.notices.alerts import Told as Arrived

log = logging.getLogger(__name__)

SAY_EVERY_S = 60.0  # while a destination is away

NoticeKey = tuple[str, str]
"""Incident, kind."""


class Receipt(NamedTuple):
    """A notice is done with: it has arrived, or will never."""

    incident: str
    kind: Happening
    destination: str
    outcome: str  # delivered, refused, given_up


class Patience(NamedTuple):
    """How a destination is treated: so many notices a minute, and none longer than this."""

    per_minute: int
    give_up_ms: int


class Courier:
    """One queue and one messenger for each destination; a destination gets its notices in order, one at a time. Nothing
    runs before the first notice, so that a courier which nobody came to use need not be closed."""

    def __init__(
        self, destinations: Iterable[Alerts], patience: Patience, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._done: list[Receipt] = []
        self._messengers = [_Messenger(one, patience, clock, chance, self._done.append) for one in destinations]
        self._routines: list[asyncio.Task[None]] = []

    @property
    def done(self) -> bool:
        """Whether there are receipts to take."""
        return bool(self._done)

    @property
    def waiting(self) -> dict[str, int]:
        """How many notices each destination has not got yet."""
        return {messenger.name: len(messenger.queue) for messenger in self._messengers}

    def offer(self, notice: Notice, owed: tuple[str, ...]) -> None:
        """Take a notice for the destinations that it is owed to. For one that nobody knows any more it is given up."""
        if not self._routines:
            self._routines = [asyncio.create_task(_guarded(messenger)) for messenger in self._messengers]
        known = {messenger.name: messenger for messenger in self._messengers}
        for name in owed:
            if name in known:
                known[name].put(notice)
            else:
                self._done.append(Receipt(notice.incident, notice.kind, name, "given_up"))

    def take(self) -> list[Receipt]:
        """The receipts since the last time."""
        taken = self._done[:]
        del self._done[: len(taken)]
        return taken

    async def close(self) -> None:
        """Stop at once: what has not arrived is still owed."""
        for routine in self._routines:
            routine.cancel()
        await asyncio.gather(*self._routines, return_exceptions=True)
        await asyncio.gather(*(messenger.destination.close() for messenger in self._messengers))


class _Messenger:
    """Brings one destination its notices."""

    def __init__(
        self,
        destination: Alerts,
        patience: Patience,
        clock: Clock,
        chance: Callable[[], float],
        told: Callable[[Receipt], None],
    ) -> None:
        self.name = destination.name
        self.queue: dict[NoticeKey, Notice] = {}
        self.destination, self._patience, self._clock, self._told = destination, patience, clock, told
        self._backoff = Backoff(chance)
        self._some = asyncio.Event()
        self._said_s = -SAY_EVERY_S

    def put(self, notice: Notice) -> None:
        self.queue.setdefault((notice.incident, notice.kind), notice)
        self._some.set()

    async def work(self) -> None:
        """For ever. One notice costs at least its share of a minute."""
        while True:
            await self._some.wait()
            began_s = monotonic_s()
            key, notice = next(iter(self.queue.items()))
            answer = await self.destination.tell(notice)
            wait_s = self._settle(key, notice, answer)
            if not self.queue:
                self._some.clear()
            await asyncio.sleep(max(wait_s, began_s + 60 / self._patience.per_minute - monotonic_s()))

    def _settle(self, key: NoticeKey, notice: Notice, answer: Answer) -> float:
        """Note what became of it. Returns how long to wait."""
        outcome, wait_s = "delivered", 0.0
        if isinstance(answer, Later):
            wait_s = self._backoff.failed() if answer.after_s is None else answer.after_s
            if self._clock() - notice.due_ms < self._patience.give_up_ms:
                self._say(answer.why)
                return wait_s
            outcome = "given_up"
        elif isinstance(answer, Never):
            outcome = "refused"
        else:
            self._backoff.succeeded()
        if not isinstance(answer, Arrived):
            log.error("%s will not be told that %s %s: %s", self.name, notice.incident, notice.kind, answer.why)
        del self.queue[key]
        self._told(Receipt(notice.incident, notice.kind, self.name, outcome))
        return wait_s

    def _say(self, why: str) -> None:
        if monotonic_s() - self._said_s >= SAY_EVERY_S:
            self._said_s = monotonic_s()
            log.warning("%s cannot be told of %d notices yet: %s", self.name, len(self.queue), why)


async def _guarded(messenger: _Messenger) -> None:
    try:
        await messenger.work()
    except Exception as error:
        failstop(error, f"telling {messenger.name} of incidents")
