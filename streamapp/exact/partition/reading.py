"""A consumer without a group that reads what is committed. It is closed however its start or its use ends.

It unpacks a record batch as the groups' workers do, up to `STREAM_WORKER__BATCH_BYTES_MAX`. A batch that cannot be read
is one record, with an `UnreadableBatch` as its value: whoever reads decides what that means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from streamapp.exact.faust.batches import WholeBatches, keep_batches
from streamapp.exact.faust.stopping import StoppableConsumer
from streamapp.kafka.clients.aio import aiokafka_config, naming_rights
from streamapp.lane.records import Records
from streamapp.settings import Settings

FETCH_BYTES = 8 * 1024 * 1024
FETCHED_BATCHES = 2000  # handed out at once; of each partition also no more than `batches.FETCH_BYTES` unpacked


class RecordsConsumer(StoppableConsumer):
    """aiokafka's consumer, whose fetches are read with `records` and nothing else. `batch_bytes_max`: of a batch,
    unpacked."""

    def __init__(self, batch_bytes_max: int, **config: Any) -> None:
        keep_batches()
        super().__init__(**config)
        self._batch_bytes_max = batch_bytes_max
        self._lost_seen: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        await super().start()
        self._fetcher._records = WholeBatches(self._fetcher._records, self._batch_bytes_max)

    async def records(self, *partitions: TopicPartition, timeout_ms: int) -> dict[TopicPartition, Records]:
        """What these partitions have next, in order; nothing when nothing comes within `timeout_ms`.

        A batch that cannot be read is fetched once more before it is handed out: it may have been damaged on its way.
        """
        fetched = await self.getmany(*partitions, timeout_ms=timeout_ms, max_records=FETCHED_BATCHES)
        sound = {at: self._sound(at, Records(stretches)) for at, stretches in fetched.items()}
        return {at: records for at, records in sound.items() if records}

    def _sound(self, at: TopicPartition, records: Records) -> Records:
        sound = records.before_lost(self._lost_seen.get(at, -1))
        if len(sound) < len(records):
            lost = records[len(sound) :].first_offset
            self._lost_seen[at] = lost
            self.seek(at, lost)
        return sound


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[RecordsConsumer]:
    """The consumer, started. Raises `Misconfigured` without a right to read, and aiokafka's other
    errors."""
    consumer = RecordsConsumer(
        settings.worker.batch_bytes_max,
        **aiokafka_config(settings.kafka),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
    )
    try:
        with naming_rights(settings.kafka.sasl_username, "READ"):
            await consumer.start()
            await asyncio.sleep(0)  # its routines must have begun: aiokafka cannot stop one that has not
            yield consumer
    finally:
        await consumer.stop()
