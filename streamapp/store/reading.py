"""A consumer without a group that reads what is committed. It is closed however its start or its use ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamapp.kafka.security import aiokafka_config
from streamapp.runtime.stopping import StoppableConsumer
from streamapp.settings import KafkaSettings

FETCH_BYTES = 8 * 1024 * 1024


@asynccontextmanager
async def reading(kafka: KafkaSettings) -> AsyncIterator[StoppableConsumer]:
    """The consumer, started. Raises aiokafka's errors when it cannot be."""
    consumer = StoppableConsumer(
        **aiokafka_config(kafka),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
        await asyncio.sleep(0)  # its routines must have begun: aiokafka cannot stop one that has not
        yield consumer
    finally:
        await consumer.stop()
