"""How groups stand, asked of a real cluster: with members, without, never started, and away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import Producer, TopicPartition

from streamapp.broker.broker import Broker
from streamapp.errors import Unavailable
from streamapp.kafka.groups import Seen, look
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.watch.standing import KafkaStandings


def test_members_offsets_and_ends_of_several_groups(
    broker: Broker, unique: Callable[[str], str], make_topic: Callable[..., str]
) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    topic, running, left, never = make_topic(partitions=3), *(unique("group") for _ in range(3))
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(30):
        producer.produce(topic, b"x", partition=number % 3)
    producer.flush(30)
    consumer = PlainConsumer({"bootstrap.servers": broker.bootstrap, "group.id": left, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 1, 4)], asynchronous=False)
    consumer.close()

    async def with_a_member() -> Seen:
        member = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=running)
        await member.start()
        try:
            await member.seek_to_beginning()
            await member.commit(dict.fromkeys(member.assignment(), 7))
            return await asyncio.to_thread(look, kafka, [running, left, never], [topic], 20)
        finally:
            await member.stop()

    seen = asyncio.run(with_a_member())
    assert seen.ends == {(topic, number): 10 for number in range(3)}
    assert seen.starts == {(topic, number): 0 for number in range(3)}
    one = seen.groups[running]
    assert (one.state, one.committed) == ("Stable", {(topic, number): 7 for number in range(3)})
    assert [(member.host, sorted(member.partitions)) for member in one.members] == [
        ("127.0.0.1", [(topic, 0), (topic, 1), (topic, 2)])
    ]
    assert (seen.groups[left].state, seen.groups[left].committed) == ("Empty", {(topic, 1): 4})
    assert (seen.groups[never].state, seen.groups[never].committed) == ("Dead", {})


def test_a_cluster_that_is_away_is_asked_once_in_a_while() -> None:
    port, now_ms = free_port(), [0]
    standings = KafkaStandings(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), lambda: now_ms[0], 0.5)

    async def run() -> None:
        said = []
        for _ in range(3):
            with pytest.raises(Unavailable, match=f"127.0.0.1:{port} does not answer") as caught:
                await standings.now()
            said.append(caught.value)
        assert said[0] is said[1] is said[2]
        now_ms[0] += 10_000
        with pytest.raises(Unavailable) as caught:
            await standings.now()
        assert caught.value is not said[0]

    asyncio.run(run())
