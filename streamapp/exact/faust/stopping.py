"""A consumer that stops also while its broker is away.

aiokafka (0.14) waits for its fetches one after the other when it stops. One that has just failed is in its pause before
the next attempt; cancelled there, its `CancelledError` leaves `stop`. Faust's thread then ends without a word, and the
worker waits a minute for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka

AGAIN_S = 0.1  # between two cancellations of what did not end


class StoppableConsumer(aiokafka.AIOKafkaConsumer):
    """aiokafka's, whose `stop` ends its fetches, in whatever state they are."""

    _stopping: asyncio.Future[None] | None = None  # kept, or the event loop forgets it

    async def stop(self) -> None:
        """Stop. Does not wait for a broker that is away, and ends also when its caller is cancelled meanwhile: a second
        rebalance cuts a takeover short."""
        self._stopping = asyncio.ensure_future(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        if self._fetcher is not None and not self._closed:
            await _end_fetches(self._fetcher)
        await super().stop()


async def _end_fetches(fetcher: Any) -> None:
    tasks = running = {fetcher._fetch_task, *fetcher._pending_tasks}
    while running:
        for task in running:
            task.cancel()  # again: while an assignment goes, the routine takes a cancellation for that of its fetches
        _, running = await asyncio.wait(running, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # nobody else asks for their errors
    fetcher._pending_tasks.clear()
