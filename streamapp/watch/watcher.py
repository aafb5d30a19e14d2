"""Asks Kafka again and again how every group stands, and keeps the last answer for whoever wants it.

One look is a handful of requests for offsets and names; no record is fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streamapp.clock import Clock
from streamapp.errors import StreamError
from streamapp.kafka.groups import Seen, looked
from streamapp.settings import KafkaSettings
from streamapp.watch import money
from streamapp.watch.lag import REASONS, GroupSeries, Series, Watched
from streamapp.watch.looks import Look, Looks
from streamapp.watch.money import Money, Told

ANSWER_S = 10.0
STUCK_S = 120.0  # a loop that has not finished a look for so long beyond its interval is stuck
MINUTE_MS = 60_000
MINUTES = 60
STARTING = "Kafka was not asked yet"

log = logging.getLogger(__name__)

Ask = Callable[[Seen], Awaitable[Mapping[str, Told | None]]]
"""Who is in the groups → what their workers say of the money that is open."""


async def nobody(seen: Seen) -> Mapping[str, Told | None]:
    """For a watch that knows of no workers."""
    return {}


@dataclass(frozen=True, slots=True)
class Minute:
    """A group at the last look of a minute: over all partitions, the most and the least."""

    start_ms: int
    lag: int
    age_s: float | None
    to_loss_s: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """What was seen last. Without a whole answer `series` has no group: an old number is not shown as a new one."""

    series: Series
    money: Mapping[tuple[str, str], Money] = field(default_factory=dict)
    succeeded_ms: int | None = None
    problem: str = STARTING
    minutes: Mapping[str, tuple[Minute, ...]] = field(default_factory=dict)


class Watcher:
    """The loop. `known` is always there."""

    def __init__(
        self,
        kafka: KafkaSettings,
        clock: Clock,
        interval_s: float,
        *,
        ask: Ask = nobody,
        registry: Sequence[Watched] | None = None,
        timeout_s: float = ANSWER_S,
        looked: Look = looked,
    ) -> None:
        self._clock, self.interval_s, self._ask, self._purse = clock, interval_s, ask, money.NOTHING
        self._looks = Looks(kafka, clock, timeout_s, looked, registry)
        self._stepped_ms = clock()
        self.known = Known(_blind())

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self.interval_s)

    async def look(self) -> None:
        """Ask once. Never raises: what went wrong is known, too."""
        try:
            await self._look()
        except StreamError as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("a look failed with an unexpected error")
            self._failed(f"unexpected error, see the log: {type(error).__name__} {error}")
        self._stepped_ms = self._clock()

    async def _look(self) -> None:
        seen, series, now_ms = await self._looks.again(names=True)
        told = await self._ask(seen)
        billing = [one for one in money.billing() if one.name in series.groups]
        self._purse, sums = money.step(self._purse, series, told, billing)
        unknown = {
            **series.unknown,
            "workers": sum(one.open is None for one in sums.values()),
            "mean": sum(one.unread is None or one.lost is None for one in sums.values()),
        }
        if self.known.problem and self.known.succeeded_ms is not None:
            log.info("Kafka answers again")
        self.remember(replace(series, unknown=unknown), sums, now_ms)

    def remember(self, series: Series, sums: Mapping[tuple[str, str], Money], now_ms: int) -> None:
        """A whole answer of that time is the newest."""
        minutes = {name: _minutes(self.known.minutes.get(name, ()), one, now_ms) for name, one in series.groups.items()}
        self.known = Known(series, sums, self._clock(), "", minutes)

    def _failed(self, problem: str) -> None:
        if problem != self.known.problem:
            log.warning("how the groups stand is not known: %s", problem)
        self.known = replace(self.known, series=_blind(), money={}, problem=problem)

    def health(self) -> str:
        """Whether the loop goes on. Blind: Kafka does not answer, which no restart of this process mends."""
        if self._clock() - self._stepped_ms > 1000 * (self.interval_s + STUCK_S):
            return "stuck"
        return {"": "ok", STARTING: "starting"}.get(self.known.problem, "blind")

    def as_json(self) -> dict[str, Any]:
        """The last hour of every group, plain JSON types."""
        return {
            "now_ms": self._clock(),
            "problem": self.known.problem,
            "groups": {
                name: [[one.start_ms, one.lag, one.age_s, one.to_loss_s] for one in minutes]
                for name, minutes in self.known.minutes.items()
            },
        }


def _blind() -> Series:
    return Series({}, {name: int(name == "kafka") for name in REASONS})


def _minutes(before: tuple[Minute, ...], one: GroupSeries, now_ms: int) -> tuple[Minute, ...]:
    start_ms = now_ms // MINUTE_MS * MINUTE_MS
    kept = tuple(each for each in before if start_ms - MINUTES * MINUTE_MS < each.start_ms < start_ms)
    if not one.partitions:
        return kept
    places = one.partitions.values()
    return (
        *kept,
        Minute(
            start_ms,
            sum(each.lag for each in places),
            max((each.age_s for each in places if each.age_s is not None), default=None),
            min((each.to_loss_s for each in places if each.to_loss_s is not None), default=None),
        ),
    )
