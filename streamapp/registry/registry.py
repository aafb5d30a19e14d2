"""The registry: answers from memory, and writes to `_schemas` what is new.

Reading needs no Kafka. What is not known here is asked of Kafka before it is denied: another process may have written
it a moment ago. Writing: take the one right to write, read to the end, judge, write, answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from streamapp.errors import Misconfigured, Refused, StreamError, Unavailable
from streamapp.registry.log import Log
from streamapp.registry.records import Change
from streamapp.registry.state import State, beginning

T = TypeVar("T")

FRESH_S = 2.0  # what another process wrote is listed here after so long, at most
FENCED_MAX = 20  # somebody else writes each time: then the client tries again
STARTING = "Kafka was not asked yet"

log = logging.getLogger(__name__)


class Registry:
    """`state` is what is known; `problem` says why Kafka is not asked, and is empty when it answers."""

    def __init__(self, kafka: Log, state: State | None = None) -> None:
        self.state = beginning() if state is None else state
        self.problem = STARTING
        self.registered = 0  # versions that this process wrote
        self.fenced = 0
        self._log, self._lock = kafka, asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "schemas")

    async def run(self) -> None:
        """Keep up with the topic, for ever."""
        while True:
            try:
                await self.refresh()
            except StreamError:
                pass  # `problem` says it
            except Exception:
                log.exception("an unexpected error while %s was read", "_schemas")
            await asyncio.sleep(FRESH_S)

    async def refresh(self) -> None:
        """Read what the topic says by now. Raises `Unavailable` or `Misconfigured`."""
        async with self._lock:
            self._apply(await self._told(self._log.rest))

    async def sure(self) -> None:
        """The same before something is denied; at once where Kafka is known to be away."""
        self._demand_kafka()
        await self.refresh()

    async def change(self, decide: Callable[[State], tuple[Sequence[Change], T]]) -> T:
        """Write what `decide` makes of the newest state, and return its answer; nothing is written when it names no
        changes. It may be called again, after somebody else wrote in between; what it raises is passed on."""
        self._demand_kafka()
        async with self._lock:
            for _ in range(FENCED_MAX):
                try:
                    return await self._changed(decide)
                except Refused:
                    self.fenced += 1
        raise Unavailable("other registries write all the time")

    async def _changed(self, decide: Callable[[State], tuple[Sequence[Change], T]]) -> T:
        self._apply(await self._told(self._log.take))
        changes, answer = decide(self.state)
        if changes:
            everything = [*self.state.unmirrored(), *changes]
            await self._told(lambda: self._log.write(everything))
            self._apply(everything)
            self.registered += 1
        return answer

    def _demand_kafka(self) -> None:
        if self.problem and self.problem != STARTING:
            raise Unavailable(self.problem)

    async def close(self) -> None:
        """Give the right to write back."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._log.leave)
        self._thread.shutdown()

    async def _told(self, ask: Callable[[], T]) -> T:
        """What Kafka says; `problem` follows."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, ask)
        except Refused:
            raise
        except (Unavailable, Misconfigured) as error:
            if self.problem in ("", STARTING):
                log.warning("schemas are not written, and only known ones are read: %s", error)
            self.problem = str(error)
            raise
        if self.problem and self.problem != STARTING:
            log.info("Kafka answers again")
        self.problem = ""
        return answer

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.state.apply(change)
