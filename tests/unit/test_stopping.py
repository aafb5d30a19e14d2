"""A consumer whose fetch pauses before its next attempt stops without a word of it."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher

from streamapp.exact.faust.stopping import StoppableConsumer


async def pausing() -> bool:
    """A fetch as aiokafka's after an error: its pause knows nothing of cancellation."""
    await asyncio.sleep(3600)
    return False


async def fetching(kind: type[AIOKafkaConsumer], *, assigned: bool) -> AIOKafkaConsumer:
    consumer = kind(bootstrap_servers="127.0.0.1:1")
    fetcher = consumer._fetcher = Fetcher(consumer._client, consumer._subscription)
    if assigned:
        await asyncio.sleep(0)
    # Without an assignment, the routine cancels what is pending, and waits for its end.
    fetcher._pending_tasks = {asyncio.create_task(pausing()) for _ in range(2)}
    await asyncio.sleep(0)
    return consumer


async def stopped(kind: type[AIOKafkaConsumer], *, assigned: bool) -> None:
    consumer = await fetching(kind, assigned=assigned)
    await consumer.stop()
    assert consumer._closed


async def cut_short() -> None:
    consumer = await fetching(StoppableConsumer, assigned=True)
    assert isinstance(consumer, StoppableConsumer)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert consumer._stopping is not None
    await consumer._stopping
    assert consumer._closed


@pytest.mark.parametrize("assigned", [True, False])
def test_a_fetch_that_pauses_does_not_leave_the_stop(assigned: bool) -> None:
    asyncio.run(asyncio.wait_for(stopped(StoppableConsumer, assigned=assigned), 20))


def test_it_stops_also_when_nobody_waits_for_it_any_more() -> None:
    asyncio.run(asyncio.wait_for(cut_short(), 20))


def test_ours_is_needed() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped(AIOKafkaConsumer, assigned=True))
