"""What every pipeline of capture does: Kafka's and its twin in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from memory_pipeline import MemoryPipeline

from streamapp.broker.broker import Broker
from streamapp.capture.pipeline import Pipeline
from streamapp.kafka.log.reader import read
from streamapp.kafka.produce.loop_producer import RECORD_BYTES, Group, LoopProducer
from streamapp.settings import KafkaSettings

Made = tuple[Pipeline, Callable[[str], list[tuple[bytes | None, bytes | None]]]]
Make = Callable[..., Made]


@pytest.fixture(params=["memory", "kafka"])
def make(request: pytest.FixtureRequest, broker: Broker) -> Make:
    """A pipeline, and what stands in a topic of its."""

    def memory(**limits: Any) -> Made:
        pipeline = MemoryPipeline(**limits)
        return pipeline, lambda topic: [(key, value) for there, key, value in pipeline.written if there == topic]

    def kafka(**limits: Any) -> Made:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap)
        pipeline = LoopProducer(settings, **{"bytes_max": 1 << 26, "records_max": 10_000, **limits})
        config = {"bootstrap.servers": broker.bootstrap, "fetch.wait.max.ms": 20}
        return pipeline, lambda topic: [(record.key, record.value) for record in sorted(read(config, topic))]

    return memory if request.param == "memory" else kafka


def run(test: Awaitable[None]) -> None:
    async def wrapped() -> None:
        await test

    asyncio.run(wrapped())


def test_a_group_is_written_in_order_and_then_told(make: Make, make_topic: Callable[..., str]) -> None:
    first, second = make_topic("first"), make_topic("second")
    values = [b"%03d" % number for number in range(200)]

    async def test() -> None:
        pipeline, written = make()
        groups = (Group(first, b"team", values), Group(second, b"letter", [b"a", b"b"]))
        future = pipeline.send(groups)
        assert future is not None
        assert await future is None
        assert pipeline.heard_s() > 0
        assert written(first) == [(b"team", value) for value in values]
        assert written(second) == [(b"letter", b"a"), (b"letter", b"b")]
        assert (pipeline.records, pipeline.bytes) == (0, 0)
        await pipeline.close(10)

    run(test())


def test_many_requests_at_once_are_each_told(make: Make, make_topic: Callable[..., str]) -> None:
    topic = make_topic("many")

    async def test() -> None:
        pipeline, written = make()
        futures = [pipeline.send((Group(topic, b"team", [b"%d" % number]),)) for number in range(500)]
        assert await asyncio.gather(*(future for future in futures if future is not None)) == [None] * 500
        assert [value for _, value in written(topic)] == [b"%d" % number for number in range(500)]
        await pipeline.close(10)

    run(test())


def test_a_batch_has_at_most_500_records(make_topic: Callable[..., str], broker: Broker) -> None:
    """The standard's Insights Capture Integration. Its other bound, a second, is far above the linger."""
    topic = make_topic("batches")

    async def test() -> None:
        pipeline = LoopProducer(
            KafkaSettings(bootstrap_servers=broker.bootstrap), bytes_max=1 << 26, records_max=10_000
        )
        values = [b"%d" % number for number in range(3_000)]
        assert await asyncio.wait_for(pipeline.send((Group(topic, b"team", values),)) or asyncio.Future(), 30) is None
        await pipeline.close(10)

    run(test())
    counts = batch_sizes((broker.data_dir / "log" / f"{topic}-0" / f"{0:020}.log").read_bytes())
    assert sum(counts) == 3_000
    assert max(counts) <= 500


def batch_sizes(log: bytes) -> list[int]:
    """Records of each batch in a segment; of its head, the length stands at byte 8 and the number of records at 57."""
    counts, at = [], 0
    while at < len(log) and int.from_bytes(log[at + 8 : at + 12]):
        counts.append(int.from_bytes(log[at + 57 : at + 61]))
        at += 12 + int.from_bytes(log[at + 8 : at + 12])
    return counts


def test_without_room_nothing_of_it_is_taken(make: Make, make_topic: Callable[..., str]) -> None:
    topic = make_topic("room")

    async def test() -> None:
        pipeline, written = make(records_max=1_000, bytes_max=1_000_000)
        assert pipeline.send((Group(topic, b"t", [b"x"] * 1_001),)) is None
        assert pipeline.send((Group(topic, b"t", [b"x" * 500_000] * 2),)) is None
        assert not pipeline.has_room(1, 1_000_001)
        future = pipeline.send((Group(topic, b"t", [b"x" * (1_000_000 - RECORD_BYTES)]),))
        assert future is not None
        await future
        assert len(written(topic)) <= 1
        assert pipeline.has_room(1_000, 1_000_000)
        await pipeline.close(10)

    run(test())


def test_it_knows_which_topics_are_there(
    make: Make, make_topic: Callable[..., str], unique: Callable[..., str]
) -> None:
    topic, never = make_topic("there"), unique("never_made")

    async def test() -> None:
        pipeline, _ = make()
        if isinstance(pipeline, MemoryPipeline):
            pipeline.gone.add(never)
        assert await pipeline.answers([topic])
        assert pipeline.missing == frozenset()
        assert await pipeline.answers([topic, never])
        assert pipeline.missing == {never}
        assert await pipeline.answers([topic])
        assert pipeline.missing == frozenset()
        await pipeline.close(1)

    run(test())


def test_what_is_given_up_fails(make_topic: Callable[..., str]) -> None:
    async def test() -> None:
        nowhere = LoopProducer(KafkaSettings(bootstrap_servers="127.0.0.1:1"), bytes_max=1 << 20, records_max=1_000)
        assert not await nowhere.answers(["topic"])
        future = nowhere.send((Group("topic", b"t", [b"x"]),))
        assert future is not None
        nowhere.give_up()
        assert await future is not None
        assert (nowhere.records, nowhere.failed, nowhere.acknowledged) == (0, 1, 0)
        again = nowhere.send((Group("topic", b"t", [b"y"]),))
        await nowhere.close(0.05)
        assert again is not None
        assert await again is not None

    run(test())


def test_a_record_that_kafka_refuses_fails_its_whole_group(make_topic: Callable[..., str], broker: Broker) -> None:
    topic = make_topic("small", max_message_bytes=10_000)

    async def test() -> None:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        pipeline = LoopProducer(kafka, bytes_max=1 << 26, records_max=1_000)
        groups = (Group(topic, b"t", [b"small"]), Group(topic, b"t", [random.Random(1).randbytes(800_000), b"small"]))
        future = pipeline.send(groups)
        assert future is not None
        assert await future is not None
        await pipeline.close(10)

    run(test())
