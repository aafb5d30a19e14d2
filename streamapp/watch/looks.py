"""Looks at how every group stands: Kafka is asked; what one look cannot tell is remembered from the one before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from streamapp.clock import Clock
from streamapp.kafka.groups import Seen, looked
from streamapp.settings import KafkaSettings
from streamapp.watch.lag import Memory, Series, Watched, dates, step, watched

Look = Callable[..., Awaitable[Seen]]
"""How Kafka is asked: as `kafka.groups.looked`."""


class Looks:
    """`registry`: who reads what, by default all that is registered."""

    def __init__(
        self,
        kafka: KafkaSettings,
        clock: Clock,
        timeout_s: float,
        look: Look = looked,
        registry: Sequence[Watched] | None = None,
    ) -> None:
        self._kafka, self._clock, self._timeout_s, self._look = kafka, clock, timeout_s, look
        self._registry = watched() if registry is None else registry
        self._memory = Memory()

    async def again(self, *, names: bool = False, explained: bool = True) -> tuple[Seen, Series, int]:
        """What Kafka says, what follows from it, and when it was asked. Options and errors are those of `looked`."""
        registry, memory, now_ms = self._registry, self._memory, self._clock()
        seen = await self._look(
            self._kafka,
            {one.group for one in registry},
            {one.topic for one in registry},
            self._timeout_s,
            dating=lambda seen: dates(registry, memory, seen, now_ms),
            names=names,
            explained=explained,
        )
        self._memory, series = step(registry, memory, seen, now_ms)
        return seen, series, now_ms
