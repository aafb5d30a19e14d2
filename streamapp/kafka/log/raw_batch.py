"""One record batch as the broker has it, for whoever met a batch that its client cannot read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from streamapp.errors import Unavailable
from streamapp.kafka.clients.aio import asking, naming_rights, same_for_aiokafka
from streamapp.kafka.log.batch import FORMAT, FORMAT_AT, LENGTH_END, Lost, end_of, lost

COMMITTED = 1
FETCH_BYTES = 1 << 20  # the first batch comes whole, however large


def batch_at(config: Mapping[str, Any], topic: str, partition: int, offset: int, why: str, timeout_s: float) -> Lost:
    """The batch that holds an offset, or the first one behind it. `config` as librdkafka's clients have it; `why`: what
    is wrong with the batch. Also from a thread that runs an event loop. Raises `Unavailable`."""
    at = TopicPartition(topic, partition)
    with ThreadPoolExecutor(1) as thread:
        data = thread.submit(lambda: asyncio.run(_fetched(config, at, offset, timeout_s))).result()
    end = LENGTH_END + int.from_bytes(data[8:LENGTH_END], "big")
    if len(data) < end:
        raise Unavailable(f"topic {topic}: partition {partition} has no whole batch at offset {offset}")
    sound = data[FORMAT_AT] == FORMAT and MemoryRecords(data).next_batch().validate_crc()
    next_base = int.from_bytes(data[end : end + 8], "big") if len(data) >= end + LENGTH_END else None
    batch = data[:end]
    return lost(batch, offset, end_of(batch, next_base, sound=sound), why, sound=sound)


async def _fetched(config: Mapping[str, Any], at: TopicPartition, offset: int, timeout_s: float) -> bytes:
    try:
        with naming_rights(config.get("sasl.username"), "READ"):
            async with asyncio.timeout(timeout_s), asking(same_for_aiokafka(config), timeout_s) as client:
                await client.add_topic(at.topic)
                cluster = await client.fetch_all_metadata()
                node = cluster.leader_for_partition(at)
                wanted = [(at.topic, [(at.partition, offset, FETCH_BYTES)])]
                answer = await client.send(node, FetchRequest(500, 1, FETCH_BYTES, COMMITTED, wanted))
                found = answer.topics[0][1][0]
                if found[1]:
                    raise for_code(found[1])(at.topic)
                return bytes(found[-1] or b"")
    except TimeoutError:
        raise Unavailable(f"topic {at.topic}: Kafka does not answer within {timeout_s:g} s") from None
    except KafkaError as error:
        raise Unavailable(f"topic {at.topic}: Kafka says: {error}") from None
