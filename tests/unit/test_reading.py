"""A consumer that could not be started is closed all the same; a batch that cannot be read is one record, also here."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import KafkaConnectionError
from memory_store import MemoryStore
from raw_batches import packed_batch

from streamapp.errors import Misconfigured
from streamapp.exact.faust.batches import Batches
from streamapp.exact.partition.reading import RecordsConsumer, reading
from streamapp.exact.partition.restore import apply_rows
from streamapp.processes.child import free_port
from streamapp.replay.offsets import chunks_of
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.rows import always_settled


async def _given_up() -> list[str]:
    said: list[str] = []

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said.append(str(context["message"]))

    asyncio.get_running_loop().set_exception_handler(handler)
    nowhere = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    for patience_s in (0.01, 5):  # given up while it starts, and an error of its own
        try:
            async with asyncio.timeout(patience_s), reading(nowhere):
                raise AssertionError("nobody listens there")
        except (TimeoutError, KafkaConnectionError):
            pass
    gc.collect()
    return said


def test_nothing_stays_unclosed() -> None:
    with warnings.catch_warnings(action="always", category=ResourceWarning):  # an error would end aiokafka's own report
        assert asyncio.run(_given_up()) == []


AT = TopicPartition("topic", 0)
LIMIT = 1 << 20


class Fetched(RecordsConsumer):
    """One partition of a log in memory, fetched through aiokafka's reader of batches."""

    def __init__(self, *batches: bytes) -> None:
        self._lost_seen = {}
        self.log: list[tuple[int, bytes]] = []  # end, batch
        self.fetches = 0
        self.next = 0
        end = 0
        for batch in batches:
            batch = end.to_bytes(8, "big") + batch[8:]
            end += int.from_bytes(batch[23:27], "big") + 1
            self.log.append((end, batch))

    def assign(self, partitions: Any) -> None:
        pass

    def seek(self, partition: Any, offset: int) -> None:
        self.next = offset

    async def position(self, partition: Any) -> int:
        return self.next

    async def getmany(self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None) -> Any:
        self.fetches += 1
        batches = Batches(b"".join(batch for end, batch in self.log if end > self.next))
        records = PartitionRecords(AT, batches, None, self.next, None, None, True, READ_COMMITTED)
        batches.keep_whole(self.next, LIMIT)
        records._consumer_record = lambda tp, one: one.stretch()
        stretches = list(records)
        self.next = records.next_fetch_offset
        return {AT: stretches}


def good(records: int, key: bytes = b"k") -> bytes:
    return packed_batch(records, 10, 1_700_000_000_000, key)


BOMB = packed_batch(5, LIMIT // 4, 1_700_000_000_000, b"k")


async def _chunks(log: RecordsConsumer, start: int, end: int) -> list[list[int]]:
    return [[one.offset for one in records] async for records in chunks_of(log, 3, "topic", 0, start, end)]


def test_a_batch_that_cannot_be_read_is_fetched_once_more_and_is_one_record() -> None:
    log = Fetched(good(4), BOMB, BOMB, good(2))
    assert asyncio.run(_chunks(log, 0, 16)) == [[0, 1, 2], [3], [8], [13, 14, 15]]
    assert log.fetches == 3, "each of the two once more"


def test_a_batch_that_was_damaged_on_its_way_is_read() -> None:
    log = Fetched(good(2), BOMB, good(1))
    log.log[1:2], sound = [(7, log.log[1][1][:-1] + b"?")], (7, (2).to_bytes(8, "big") + good(5)[8:])

    async def fetched() -> list[int]:
        first = (await log.records(AT, timeout_ms=0))[AT]
        log.log[1] = sound
        second = (await log.records(AT, timeout_ms=0))[AT]
        assert not any(isinstance(record.value, UnreadableBatch) for record in (*first, *second))
        return [record.offset for record in (*first, *second)]

    assert asyncio.run(fetched()) == list(range(8))


def test_a_range_ends_before_a_batch_that_reaches_beyond_it_and_begins_within_one() -> None:
    log = Fetched(good(4), BOMB, good(4))
    assert asyncio.run(_chunks(log, 2, 8)) == [[2, 3]]
    assert asyncio.run(_chunks(log, 6, 11)) == [[8, 9, 10]]
    assert asyncio.run(_chunks(log, 9, 9)) == []


def test_a_table_is_not_restored_past_a_batch_that_cannot_be_read() -> None:
    log, store = Fetched(good(2, b"row"), BOMB), MemoryStore(always_settled)

    async def restored() -> None:
        for _ in range(2):
            for at, records in (await log.records(AT, timeout_ms=0)).items():
                apply_rows(at, records, store)

    with pytest.raises(Misconfigured) as refusal:
        asyncio.run(restored())
    for words in ("topic-0 cannot be restored", "offsets 2 to 6", "STREAM_WORKER__BATCH_BYTES_MAX", "STREAM_STATE_DIR"):
        assert words in str(refusal.value)
    assert (store.rows, store.checkpoint()) == ({b"row": bytes(10)}, 2)
