"""Batches that cannot be read become dead letters, and the partition goes on: in every kind of group and reader."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

from raw_batches import packed_batch, send_raw
from usage_log import value
from workers import USAGE, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s, wall_ms
from streamapp.kafka.log.reader import read
from streamapp.kafka.log.tail import newest_values
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.topics.partitioner import partition_for

HOUR_MS = 3_600_000


def test_a_batch_that_unpacks_to_gigabytes_is_a_letter_and_the_bills_are_right(
    fresh_broker: Broker, tmp_path: Path
) -> None:
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    where = partition_for(b"team_1", 8)
    bomb = packed_batch(600, 1_000_000, now_ms)
    assert len(bomb) < 100_000
    with cluster(fresh_broker, tmp_path) as stack:
        stack.send([Sent(b"team_1", value(f"before-{number}", hour_ms, "team_1"), where) for number in range(3)])
        assert send_raw(fresh_broker.bootstrap, USAGE, where, bomb) == 3
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
        assert b64decode(letter["value_b64"])[12:] == bomb[12:]  # but for the offset that the broker gave it
        assert stack.verify().rejected == {"unreadable_batch": 1}


def test_a_batch_that_only_the_check_can_unpack_is_refused_to_the_check_too(
    fresh_broker: Broker, tmp_path: Path
) -> None:
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    where = partition_for(b"team_1", 8)
    between = packed_batch(
        70, 1_000_000, now_ms
    )  # more than 64 MiB, which workers unpack, less than librdkafka's 100 MB
    with cluster(fresh_broker, tmp_path) as stack:
        assert send_raw(fresh_broker.bootstrap, USAGE, where, between) == 0
        stack.send([Sent(b"team_1", value(f"after-{number}", hour_ms, "team_1"), where) for number in range(3)])
        worker = stack.start_ready(billing__idle_seconds=1)
        stack.drain(worker)
        stack.wait(lambda: stack.bills(), 60, worker)
        (letter,) = (json.loads(record.value or b"")["data"] for record in stack.read("dead_letter"))
        assert (letter["source_offset"], letter["source_last_offset"]) == (0, 69)
        report = stack.verify()
        assert (report.rejected, report.events_read) == ({"unreadable_batch": 1}, 4)
        assert (report.lost.count, report.doubled.count, report.wrong.count) == (0, 0, 0)


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
