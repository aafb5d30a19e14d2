"""One Kafka transaction per chunk, from a producer that only this partition's owner may use."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidTxnState, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.kafka.acls import write_denied
from streamapp.kafka.clients.aio import aiokafka_config, naming_rights
from streamapp.kafka.log.lz4 import use_fast_lz4
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import message_bytes_max, transactional_ids

HEARTBEAT_S = 2.5  # within it, Kafka has answered a heartbeat: one is sent each fifth of a session of 10 s
DENIED_S = 10.0
BATCH_BYTES = 512 * 1024  # before compression; half the broker's default limit for a batch

Pair = tuple[bytes | None, bytes | None]
Batches = Mapping[tuple[str, int], Collection[Pair]]
"""Topic and partition → the records for it, as key and value."""


class PartitionProducer:
    """A transactional producer named after the partition.

    `start` fences every former owner, also one that is frozen and wakes up later, and settles its open transaction.
    Every error of `commit` leaves the outcome unknown to this process: stop, the next owner will know. Both raise
    `Unavailable` when Kafka has not done it within the delivery timeout.
    """

    def __init__(self, kafka: KafkaSettings, group: str, source: TopicPartition, changelog: str | None) -> None:
        self._kafka, self._patience_s = kafka, kafka.delivery_timeout_seconds
        self.group = group
        self.source = source
        self.changelog = changelog
        use_fast_lz4()
        self._producer = AIOKafkaProducer(
            **aiokafka_config(kafka),
            transactional_id=f"{transactional_ids(group, source.topic)}{source.partition}",
            transaction_timeout_ms=int(kafka.transaction_timeout_seconds * 1000),
            acks="all",
            compression_type="lz4",
            max_batch_size=BATCH_BYTES,
            max_request_size=16 * 1024 * 1024,
            linger_ms=0,
            request_timeout_ms=int(kafka.delivery_timeout_seconds * 1000),
        )

    async def start(self) -> None:
        """Connect and take the transactional id over."""
        async with self._limit("let us take over"):
            try:
                await self._producer.start()
            except AssertionError as error:  # aiokafka's, when a broker answers that knows of none, not even itself
                raise Unavailable(f"Kafka has no broker that takes requests ({error}); is it starting?") from None

    async def stop(self) -> None:
        """Disconnect. A transaction under way is left to the next owner to abort."""
        await self._producer.stop()

    async def commit(self, transaction: Transaction) -> int | None:
        """Write everything in one transaction. Returns the changelog offset behind its rows, None without rows."""
        try:
            async with self._limit("complete a transaction of"):
                return await self._commit(transaction)
        except ProducerFenced:
            # Nothing can be done here any more. Perhaps a worker of the same name did it: the next heartbeat tells,
            # and ends the process with what to change (`namesake`).
            await asyncio.sleep(HEARTBEAT_S)
            raise
        except InvalidTxnState as error:
            # A topic that is denied fails the whole transaction, and another topic's batch may be answered first.
            topics = {topic for topic, _ in (*self._rows(transaction), *_by_partition(transaction.sends))}
            raise await asyncio.to_thread(write_denied, self._kafka, sorted(topics), DENIED_S) or error from None

    @asynccontextmanager
    async def _limit(self, what: str) -> AsyncIterator[None]:
        """aiokafka tries again for ever while no broker answers."""
        try:
            with naming_rights(self._kafka.sasl_username, "WRITE"):
                async with asyncio.timeout(self._patience_s):
                    yield
        except TimeoutError:
            where = f"{self.source.topic}-{self.source.partition}"
            raise Unavailable(f"Kafka did not {what} {where} within {self._patience_s:g} s; is it running?") from None

    async def _commit(self, transaction: Transaction) -> int | None:
        producer = self._producer
        await producer.begin_transaction()
        # All is handed over before any of it is awaited: one request adds all partitions, one carries all batches.
        rows = await self._hand_over(self._rows(transaction))
        sent = await self._hand_over(_by_partition(transaction.sends))
        await asyncio.gather(*(future for future, _ in (*rows, *sent)))
        if transaction.next_offset is not None:
            # No metadata: librdkafka (2.16.1) reads it without its length, and tools that use it end (docs/adr/0030).
            offset = OffsetAndMetadata(transaction.next_offset, "")
            await producer.send_offsets_to_transaction({self.source: offset}, self.group)
        await producer.commit_transaction()
        return max((future.result().offset + count for future, count in rows), default=None)

    def _rows(self, transaction: Transaction) -> Batches:
        if not transaction.writes:
            return {}
        assert self.changelog is not None, "rows without a changelog"
        return {(self.changelog, self.source.partition): transaction.writes.items()}

    async def _hand_over(self, batches: Batches) -> list[tuple[asyncio.Future[Any], int]]:
        """Records to the producer, in as few batches as they need: for each, what will tell its first offset, and how
        many it has."""
        pending: list[tuple[asyncio.Future[Any], int]] = []
        for (topic, partition), pairs in batches.items():
            most = message_bytes_max(topic)
            for batch, count in _filled(self._producer.create_batch, pairs):
                if batch.size() > most:  # else none of its records is
                    _demand_fitting(topic, partition, pairs, most)
                pending.append((await self._producer.send_batch(batch, topic, partition=partition), count))
        return pending


def _filled(create: Callable[[], BatchBuilder], pairs: Iterable[Pair]) -> Iterator[tuple[BatchBuilder, int]]:
    """Batches with as many records as each takes, one at least, and how many these are. A batch's own `append`, around
    the one that is called here, costs as much again for each record."""
    batch, count = create(), 0
    append = batch._builder.append
    for key, value in pairs:
        if append(count, None, key, value, []) is None:
            yield _closed(batch, count), count
            batch, count = create(), 0
            append = batch._builder.append
            append(0, None, key, value, [])
        count += 1
    if count:
        yield _closed(batch, count), count


def _closed(batch: BatchBuilder, count: int) -> BatchBuilder:
    batch._relative_offset = count
    batch.close()
    return batch


def _demand_fitting(topic: str, partition: int, pairs: Collection[Pair], most: int) -> None:
    for key, value in pairs:
        if (size := len(key or b"") + len(value or b"")) > most:
            raise _too_large(topic, partition, key, size, most)


def _too_large(topic: str, partition: int, key: bytes | None, size: int, most: int) -> Misconfigured:
    """Rows and statements have limits that make them fit, so this is a fault of ours, and no restart mends it."""
    return Misconfigured(
        f"a record of {size} bytes for {topic}-{partition}, key {(key or b'')[:80]!r}, is larger than the {most} bytes "
        "that the topic takes. Nothing of the chunk was written. Lower STREAM_BILLING__LINES_MAX or "
        "STREAM_SETTLEMENT__METHODS_MAX, or raise the topic's max.message.bytes, and start again"
    )


def _by_partition(sends: Iterable[Send]) -> Batches:
    grouped: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
    for topic, partition, key, value in sends:
        grouped[topic, partition].append((key, value))
    return grouped
