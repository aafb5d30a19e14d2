"""The registry: answers from memory, and writes to `_schemas` what is new.

Reading needs no Kafka. What is not known here is asked of Kafka before it is denied: another process may have written
it a moment ago. Writing: take the one right to write, read to the end, judge, write, answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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
        self.registered = 0  # changes that this process wrote, each in one transaction
        self.fenced = 0
        self._log, self._lock = kafka, asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "schemas")
        self._begun: set[asyncio.Task[Any]] = set()

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
        await self._whole(self._refreshed(lambda: None))

    async def sure(self) -> None:
        """The same before something is denied; at once where Kafka is known to be away."""
        self._demand_kafka()
        await self._whole(self._refreshed(self._demand_kafka))

    async def _refreshed(self, demand: Callable[[], None]) -> None:
        async with self._lock:
            demand()
            self._apply(await self._told(self._log.rest))

    async def change(self, decide: Callable[[State], tuple[Sequence[Change], T]]) -> T:
        """Write what `decide` makes of the newest state, and return its answer; nothing is written when it names no
        changes. It runs in a thread, for it may judge schemas, and it may be called again after somebody else wrote in
        between; what it raises is passed on."""
        self._demand_kafka()
        return await self._whole(self._written(decide))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, which goes on when the caller is cancelled: what was read of the topic or written to it is told
        once, and a state without it would give ids twice."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return await asyncio.shield(task)

    async def _written(self, decide: Callable[[State], tuple[Sequence[Change], T]]) -> T:
        async with self._lock:
            self._demand_kafka()  # while this one waited, another one may have found out
            for _ in range(FENCED_MAX):
                try:
                    return await self._changed(decide)
                except Refused:
                    self.fenced += 1
        raise Unavailable("other registries write all the time")

    async def _changed(self, decide: Callable[[State], tuple[Sequence[Change], T]]) -> T:
        self._apply(await self._told(self._log.take))
        changes, answer = await asyncio.to_thread(decide, self.state)  # the lock holds: nobody changes it
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
        """Finish what is begun, and give the right to write back."""
        await asyncio.gather(*self._begun, return_exceptions=True)
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
