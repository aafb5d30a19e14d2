"""Which partitions this worker owns. Faust says when they come and go; here is what that means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from streamapp.clock import monotonic_s
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition.owned import Partition

log = logging.getLogger(__name__)

TakeOver = Callable[[Sequence[int], Path], Awaitable[dict[int, Partition]]]
"""Takes partitions over, with a folder for local rows. Leaves nothing open when it fails or is cancelled."""


class Ownership:
    """The partitions of one topic in hand. A rebalance lets all of them go and takes the new ones over."""

    def __init__(self, topic: str, take_over: TakeOver, folder: Path) -> None:
        self.topic = topic
        self.partitions: dict[int, Partition] = {}
        self.folder = folder
        self._take_over = take_over
        self._taking: asyncio.Future[dict[int, Partition]] | None = None
        self.taking: tuple[int, ...] = ()  # partitions of the takeover under way
        self.taken: Callable[[dict[int, Partition]], None] = lambda partitions: None  # told what is in hand now
        self.rebalanced: Callable[[], None] = lambda: None  # told of each rebalance
        self.took_over: Callable[[float], None] = lambda seconds: None  # told how long a takeover took

    async def take_over(self, numbers: Iterable[int]) -> None:
        """Take these partitions over; they are the only ones afterwards. Fail-stop when it goes wrong."""
        self.rebalanced()
        began_s = monotonic_s()
        await self.release()
        wanted = sorted(numbers)
        if not wanted:
            return
        self.taking = tuple(wanted)
        taking = self._taking = asyncio.ensure_future(self._take_over(wanted, self.folder))
        try:
            self.partitions = await asyncio.shield(taking)
            self.taken(self.partitions)
            self.took_over(monotonic_s() - began_s)
        except asyncio.CancelledError:
            log.info("the takeover of %s %s was interrupted by another rebalance", self.topic, wanted)
        except Exception as error:
            failstop(error, f"taking over {self.topic} {wanted}")
        finally:
            if self._taking is taking:
                self._taking, self.taking = None, ()

    async def release(self) -> None:
        """Let every partition go: the chunk under way is finished, nothing else is begun."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
            self._taking, self.taking = None, ()
        partitions, self.partitions = self.partitions, {}
        self.taken({})
        for partition in partitions.values():
            partition.released = True
        await asyncio.gather(*(partition.release() for partition in partitions.values()))
