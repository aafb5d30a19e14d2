"""A question whose last answer is kept, so that no page waits for somebody who is slow.

Who asks gets the last answer at once while it is young, and a new one is fetched behind it. An old one is waited for,
but only for so long as a first paint may take.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamapp.clock import Clock
from streamapp.errors import Denied, StreamError

T = TypeVar("T")

log = logging.getLogger(__name__)

FRESH_MS = 1_500
GOOD_MS = 6_000  # two beats of a page in a background tab
PATIENCE_S = 0.15  # of a first paint of 200 ms


@dataclass(frozen=True, slots=True)
class Heard(Generic[T]):
    """The last answer, None before the first; when it came; and why there is no newer one, if it should be there.
    `denied`: this worker may not ask."""

    value: T | None = None
    as_of_ms: int | None = None
    problem: str = ""
    denied: bool = False


class Kept(Generic[T]):
    """One question. `ask` may raise a `StreamError`: its sentence stands beside what was heard before."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock, *, fresh_ms: int = FRESH_MS) -> None:
        self._ask, self._clock, self._fresh_ms = ask, clock, fresh_ms
        self._heard: Heard[T] = Heard()
        self._asked_ms: int | None = None
        self._flight: asyncio.Task[None] | None = None

    @property
    def last(self) -> Heard[T]:
        """What was heard last, without asking."""
        return self._heard

    async def get(self) -> Heard[T]:
        """What is known now. Never raises."""
        age_ms = None if self._asked_ms is None else self._clock() - self._asked_ms
        if age_ms is not None and 0 <= age_ms < self._fresh_ms:
            return self._heard
        flight = self._flight
        if flight is None or flight.done() or flight.get_loop().is_closed():
            flight = self._flight = asyncio.create_task(self._fetch())
        if age_ms is None or not 0 <= age_ms < GOOD_MS:
            await asyncio.wait({flight}, timeout=PATIENCE_S)
        return self._heard

    async def sure(self) -> Heard[T]:
        """The same, but the first answer is waited for. Not for a page."""
        heard, flight = await self.get(), self._flight
        if heard == Heard() and flight is not None:
            await asyncio.wait({flight})
        return self._heard

    async def _fetch(self) -> None:
        try:
            value = await self._ask()
        except StreamError as error:
            denied = isinstance(error, Denied)
            self._heard = Heard(self._heard.value, self._heard.as_of_ms, str(error), denied)
        except Exception:
            log.exception("a question of the pages failed")
            self._heard = Heard(self._heard.value, self._heard.as_of_ms, "it failed; the worker's log says how")
        else:
            self._heard = Heard(value, self._clock())
        self._asked_ms = self._clock()
