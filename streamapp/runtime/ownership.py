"""Which partitions this worker owns. Faust says when they come and go; here is what that means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from streamapp.clock import Clock
from streamapp.runtime.failstop import failstop
from streamapp.runtime.partition import Partition
from streamapp.runtime.takeover import MakeTask, Source, take_over
from streamapp.settings import Settings

log = logging.getLogger(__name__)


class Ownership:
    """The partitions in hand. A rebalance lets all of them go and takes the new ones over."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        make_task: MakeTask,
        clock: Clock,
        on_commit: Callable[[int, float], None],
    ) -> None:
        self.source = source
        self.settings = settings
        self.partitions: dict[int, Partition] = {}
        self.folder: Path = settings.state_dir
        self._make_task = make_task
        self._clock = clock
        self._on_commit = on_commit
        self._taking: asyncio.Task[dict[int, Partition]] | None = None

    async def take_over(self, numbers: Iterable[int]) -> None:
        """Take these partitions over; they are the only ones afterwards. Fail-stop when it goes wrong."""
        await self.release()
        wanted = sorted(numbers)
        if not wanted:
            return
        taking = self._taking = asyncio.create_task(
            take_over(
                self.source,
                wanted,
                settings=self.settings,
                folder=self.folder,
                make_task=self._make_task,
                clock=self._clock,
                on_commit=self._on_commit,
            )
        )
        try:
            self.partitions = await asyncio.shield(taking)
        except asyncio.CancelledError:
            log.info("the takeover of %s was interrupted by another rebalance", wanted)
        except Exception as error:
            failstop(error, f"taking over {self.source.topic} {wanted}")
        finally:
            if self._taking is taking:
                self._taking = None

    async def release(self) -> None:
        """Let every partition go: the chunk under way is finished, nothing else is begun."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
            self._taking = None
        partitions, self.partitions = self.partitions, {}
        for partition in partitions.values():
            partition.released = True
        await asyncio.gather(*(partition.release() for partition in partitions.values()))
