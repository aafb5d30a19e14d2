"""Batches that cannot be read become dead letters, and the partition goes on: in every kind of group and reader."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from conftest import create_topic
from memory_store import MemoryStore
from raw_batches import damage, packed_batch, send_raw
from usage_log import value
from workers import GROUP, USAGE, Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Misconfigured
from streamapp.exact.partition.reading import reading
from streamapp.exact.partition.restore import restore
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.raw_batch import batch_at
from streamapp.kafka.log.reader import read
from streamapp.kafka.log.tail import newest_values
from streamapp.meters.registry import declared
from streamapp.replay.offsets import Where, chunks_of, planned
from streamapp.replay.recompute import recomputation
from streamapp.replay.repartition import repartition
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.rows import always_settled
from streamapp.topics.partitioner import partition_for

HOUR_MS = 3_600_000
REASON = "unreadable_batch"
TABLE = declared("usage_hourly")


def test_a_batch_that_unpacks_to_gigabytes_is_a_letter_and_the_bills_are_right(
    ready_broker: Broker, tmp_path: Path
) -> None:
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    where = partition_for(b"team_1", 8)
    bomb = packed_batch(600, 1_000_000, now_ms)
    assert len(bomb) < 100_000
    with cluster(ready_broker, tmp_path) as stack:
        stack.send([Sent(b"team_1", value(f"before-{number}", hour_ms, "team_1"), where) for number in range(3)])
        assert send_raw(ready_broker.bootstrap, USAGE, where, bomb) == 3
        stack.send([Sent(b"team_1", value(f"after-{number}", hour_ms, "team_1"), where) for number in range(3)])
        worker = stack.start_ready(billing__idle_seconds=1)
        stack.drain(worker)
        assert stack.committed()[where] == 606
        stack.wait(lambda: stack.bills(), 60, worker)
        (bill,) = map(json.loads, stack.bills())
        assert bill["data"]["totals"]["requests"] == 6
        (letter,) = (json.loads(record.value or b"")["data"] for record in stack.read("dead_letter"))
        assert letter["reason"] == "unreadable_batch"
        assert (letter["source_partition"], letter["source_offset"], letter["source_last_offset"]) == (where, 3, 602)
        assert (
            b64decode(letter["value_b64"])[16:] == bomb[16:]
        )  # but for the offset and the epoch that the broker gave it
        assert stack.verify().rejected == {"unreadable_batch": 1}
        worker.stop()
        stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")
        assert asyncio.run(_recomputed(stack, tmp_path / "replay")) == (1, 0, 0)

        send_raw(ready_broker.bootstrap, USAGE, where, bomb)
        stack.admin.add_partitions(USAGE, 16)
        stack.wait(lambda: stack.admin.describe([USAGE])[USAGE].partitions == 16)
        settings = Settings(kafka=stack.kafka)
        moving = repartition(TABLE.origin, settings, TABLE.make_task(settings, wall_ms), tmp_path / "move", wall_ms)
        assert asyncio.run(moving).folded == 1
        stack.wait(lambda: len(stack.letters()) == 2)
        assert [(one.offset, one.reason) for one in stack.letters()] == [(3, REASON), (606, REASON)]
        assert stack.committed()[where] == 1206


async def _recomputed(stack: Cluster, folder: Path) -> tuple[int, int, int]:
    """Hours that a replay compares with the log, that it would change, and that it cannot judge."""
    settings = Settings(kafka=stack.kafka)
    moves = await planned(settings, GROUP, USAGE, Where())
    async with recomputation(TABLE, settings, wall_ms, moves, folder, lambda offsets: None) as made:
        return (
            sum(one.compared for one in made.comparisons),
            made.changes,
            sum(one.contradicted for one in made.comparisons),
        )


def test_a_batch_that_only_the_check_can_unpack_is_refused_to_the_check_too(
    ready_broker: Broker, tmp_path: Path
) -> None:
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    where = partition_for(b"team_1", 8)
    between = packed_batch(
        70, 1_000_000, now_ms
    )  # more than 64 MiB, which workers unpack, less than librdkafka's 100 MB
    with cluster(ready_broker, tmp_path) as stack:
        assert send_raw(ready_broker.bootstrap, USAGE, where, between) == 0
        stack.send([Sent(b"team_1", value(f"after-{number}", hour_ms, "team_1"), where) for number in range(3)])
        worker = stack.start_ready(billing__idle_seconds=1)
        stack.drain(worker)
        stack.wait(lambda: stack.bills(), 60, worker)
        (letter,) = (json.loads(record.value or b"")["data"] for record in stack.read("dead_letter"))
        assert (letter["source_offset"], letter["source_last_offset"]) == (0, 69)
        report = stack.verify()
        assert (report.rejected, report.numbers["events_read"]) == ({"unreadable_batch": 1}, 4)
        assert (report.lost.count, report.doubled.count, report.wrong.count) == (0, 0, 0)


def test_a_bit_of_a_brokers_disk_that_is_wrong(ready_broker: Broker) -> None:
    """Kafka hands out what the disk says, also to us. Only clients look at the checksum; and Kafka itself, when it
    starts after a crash: then it cuts the log there."""
    broker = ready_broker
    create_topic(broker, "topic")
    for count in (2, 3, 4):
        send_raw(broker.bootstrap, "topic", 0, packed_batch(count, 10, wall_ms()))
    broker.stop()
    damage(broker.data_dir, "topic", 0, 2, "checksum")
    log = (broker.data_dir / "log" / "topic-0" / f"{0:020d}.log").read_bytes()
    broker.start()
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap))
    assert asyncio.run(_stock(broker.bootstrap)) == ([0, 1], "CorruptRecordException")
    found = batch_at({"bootstrap.servers": broker.bootstrap}, "topic", 0, 2, "is damaged", 10)
    assert bytes(found.batch) in log, "served as it lies on the disk"
    assert (found.batch.first, found.batch.last, found.timestamp_ms) == (2, 4, 0)
    for records in (read({"bootstrap.servers": broker.bootstrap}, "topic"), asyncio.run(_ours(settings, "topic", 9))):
        seen = [(record.offset, isinstance(record.value, UnreadableBatch)) for record in records]
        assert [offset for offset, lost in seen if not lost] == [0, 1, 5, 6, 7, 8]
        assert len(seen) == 7
    broker.kill()
    broker.start()
    assert Admin(settings.kafka).end_offsets([("topic", 0)]) == {("topic", 0): 2}


async def _stock(bootstrap: str) -> tuple[list[int], str]:
    """What aiokafka's own consumer reads of the topic, and the error that stops it."""
    consumer = AIOKafkaConsumer("topic", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    offsets: list[int] = []
    try:
        async with asyncio.timeout(20):
            while True:
                offsets.append((await consumer.getone()).offset)
    except KafkaError as error:
        return offsets, type(error).__name__
    finally:
        await consumer.stop()


async def _ours(settings: Settings, topic: str, end: int) -> list[Any]:
    """What a replay reads of the topic."""
    async with reading(settings) as consumer:
        chunks = [records async for records in chunks_of(consumer, 3, topic, 0, 0, end)]
        assert max(map(len, chunks)) <= 3
        return [record for records in chunks for record in records]


def test_replay_and_restore_read_no_more_of_a_batch_than_a_worker(
    broker: Broker, make_topic: Callable[..., str]
) -> None:
    topic, settings = make_topic(), Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap))
    bomb, good = packed_batch(600, 1_000_000, wall_ms(), b"k"), packed_batch(4, 10, wall_ms(), b"k")
    for batch in (good, bomb, good):
        send_raw(broker.bootstrap, topic, 0, batch)
    before_kb = getrusage(RUSAGE_SELF).ru_maxrss
    records = asyncio.run(_ours(settings, topic, 608))
    assert [record.offset for record in records] == [0, 1, 2, 3, 603, 604, 605, 606, 607]
    assert (lost(records[4]).first, lost(records[4]).last) == (4, 603)
    assert [record.offset for record in asyncio.run(_ours(settings, topic, 603))] == [0, 1, 2, 3], "it ends behind"
    store = MemoryStore(always_settled)
    with pytest.raises(Misconfigured) as refusal:
        asyncio.run(restore(settings, topic, {0: store}))
    told = str(refusal.value)
    for words in (f"{topic}-0 cannot be restored", "offsets 4 to 603", "STREAM_WORKER__BATCH_BYTES_MAX", "STATE_DIR"):
        assert words in told
    assert getrusage(RUSAGE_SELF).ru_maxrss - before_kb < 300_000


def test_a_changelog_is_read_as_a_table_only_when_all_of_it_can_be(
    broker: Broker, unique: Callable[[str], str]
) -> None:
    topic = create_topic(broker, unique("table") + "-changelog")
    send_raw(broker.bootstrap, topic, 0, packed_batch(150, 1_000_000, wall_ms()))
    with pytest.raises(Misconfigured, match=f"{topic}: the record batch of offsets 0 to 149 cannot be read"):
        list(read({"bootstrap.servers": broker.bootstrap}, topic))


def lost(record: Any) -> UnreadableBatch:
    """The batch that a record stands for."""
    assert isinstance(record.value, UnreadableBatch)
    return record.value


def test_a_raw_reader_passes_over_what_it_cannot_unpack(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    bombs = [packed_batch(count, 1_000_000, wall_ms()) for count in (150, 160)]
    good = packed_batch(2, 10, wall_ms())
    for batch in (good, bombs[0], bombs[1], good, bombs[0]):
        send_raw(broker.bootstrap, topic, 0, batch)
    began_s = monotonic_s()
    records = list(read({"bootstrap.servers": broker.bootstrap}, topic))
    assert [record.offset for record in records] == [0, 1, 2, 152, 312, 313, 314]
    lost = [record.value for record in records if isinstance(record.value, UnreadableBatch)]
    assert [(batch.first, batch.last) for batch in lost] == [(2, 151), (152, 311), (314, 463)]
    assert monotonic_s() - began_s < 60
    assert newest_values({"bootstrap.servers": broker.bootstrap}, topic, 153) == [bytes(10)] * 2
