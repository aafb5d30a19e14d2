"""Bring local stores to the end of their changelog."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamapp.kafka.security import aiokafka_config
from streamapp.runtime.rows import Store, Writes
from streamapp.settings import KafkaSettings

log = logging.getLogger(__name__)

BATCH_RECORDS = 20_000


async def restore(kafka: KafkaSettings, changelog: str, stores: Mapping[int, Store]) -> int:
    """Apply what the changelog has beyond each store's checkpoint. Returns how many rows were read.

    Call it when the partitions' producers have started: then no transaction is open any more and the end does not
    move. The end is reached when the consumer's *position* is there: the last offsets are control records, which nobody
    delivers.
    """
    consumer = AIOKafkaConsumer(
        **aiokafka_config(kafka),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        waiting = [TopicPartition(changelog, partition) for partition in stores]
        consumer.assign(waiting)
        ends = await consumer.end_offsets(waiting)
        for at in waiting:
            consumer.seek(at, min(stores[at.partition].checkpoint(), ends[at]))
        count = 0
        while waiting:
            waiting = [at for at in waiting if await consumer.position(at) < ends[at]]
            if waiting:
                fetched = await consumer.getmany(*waiting, timeout_ms=200, max_records=BATCH_RECORDS)
                for at, records in fetched.items():
                    writes: Writes = {record.key: record.value for record in records}
                    stores[at.partition].write(writes, records[-1].offset + 1)
                    count += len(records)
        return count
    finally:
        await consumer.stop()
