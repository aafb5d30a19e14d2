"""A pipeline in memory: the same promises as `LoopProducer`, held by `contract/test_capture_pipeline.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamapp.errors import Misconfigured
from streamapp.kafka.produce.loop_producer import Group, extent


class MemoryPipeline:
    """Keeps what it is given: (topic, key, value). `hold` leaves requests unanswered until `land` is called."""

    def __init__(self, *, bytes_max: int = 1 << 30, records_max: int = 1 << 20, hold: bool = False) -> None:
        self.written: list[tuple[str, bytes, bytes]] = []
        self.away, self.broken = False, ""
        self.to_mend: Misconfigured | None = None
        self.missing: frozenset[str] = frozenset()
        self.gone: set[str] = set()  # topics that it does not have
        self.records = self.bytes = 0
        self._bytes_max, self._records_max, self._hold = bytes_max, records_max, hold
        self._held: list[tuple[Sequence[Group], asyncio.Future[str | None]]] = []
        self._heard_s = 0.0

    def has_room(self, count: int, size: int) -> bool:
        return self.records + count <= self._records_max and self.bytes + size <= self._bytes_max

    def send(self, groups: Sequence[Group]) -> asyncio.Future[str | None] | None:
        count, size = extent(groups)
        if not self.has_room(count, size):
            return None
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.records += count
        self.bytes += size
        self._held.append((groups, future))
        missing = self.gone.intersection(group.topic for group in groups)
        self.missing |= missing
        if not self._hold:
            self.land("it is away" if self.away else "a topic is missing" if missing else None)
        return future

    def heard_s(self) -> float:
        return self._heard_s

    async def answers(self, topics: Sequence[str]) -> bool:
        if not self.away:
            self.missing = frozenset(self.gone.intersection(topics))
        return not self.away

    def give_up(self) -> None:
        self.land("given up")

    async def close(self, timeout_s: float) -> None:
        self.give_up()

    def land(self, error: str | None = None) -> None:
        """Acknowledge what is under way, or fail it with this sentence."""
        for groups, future in self._held:
            count, size = extent(groups)
            self.records -= count
            self.bytes -= size
            if error is None:
                self.written.extend((group.topic, group.key, value) for group in groups for value in group.values)
                self._heard_s = future.get_loop().time()
            if not future.done():
                future.set_result(error)
        self._held.clear()
