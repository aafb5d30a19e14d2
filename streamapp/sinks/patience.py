"""Asking a destination until it answers. It may be away for any time: the partition stands still meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streamapp.clock import monotonic_s
from streamapp.errors import Unavailable
from streamapp.exact.partition.owned import LetGo

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0  # a destination that is back is used within ten seconds
LAST_WORD_S = 2.0  # what a destination that was asked has left to answer when the partition goes

Answer = TypeVar("Answer")


class Patience:
    """Of one partition, `where`."""

    def __init__(self, where: str) -> None:
        self.trouble: str | None = None  # why the destination does not take a batch, while it does not
        self.trouble_since_s: float | None = None  # monotonic
        self.told: Callable[[float, bool], None] = lambda seconds, answered: None  # of each request
        self._where = where
        self._let_go = asyncio.Event()

    def end(self) -> None:
        """The partition is about to go: whoever waits gives up."""
        self._let_go.set()

    async def ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer. Raises `LetGo` when the partition goes before there is one."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = monotonic_s()
            try:
                answer = await self._answer(question)
            except Unavailable as error:
                self.told(monotonic_s() - began_s, False)
                self._stands_still(str(error))
            else:
                self.told(monotonic_s() - began_s, True)
                self.trouble = self.trouble_since_s = None
                return answer
            try:
                await asyncio.wait_for(self._let_go.wait(), pause_s)
            except TimeoutError:
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                raise LetGo

    def _stands_still(self, why: str) -> None:
        self.trouble = why
        if self.trouble_since_s is None:
            self.trouble_since_s = monotonic_s()
        log.warning("%s stands still: %s", self._where, why)

    async def _answer(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """A partition that goes does not wait long for it: the next owner asks again."""
        asking, going = asyncio.ensure_future(question()), asyncio.ensure_future(self._let_go.wait())
        try:
            await asyncio.wait({asking, going}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({asking}, timeout=LAST_WORD_S)
            if not asking.done():
                raise LetGo
            return asking.result()
        finally:
            asking.cancel()
            going.cancel()
