"""The producer against a real broker: acknowledged, on the right partition, bounded, and nothing lost silently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Producer

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s
from streamapp.errors import DeliveryFailed, Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.log.tail import newest_values
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.kafka.producer import Event, NotAcknowledged, NotWritable, RawProducer, Receipt, UsageProducer
from streamapp.kafka.trouble import no_topics
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for

DATA: Mapping[str, Any] = {
    "model": "zen-72b",
    "provider": "together",
    "prompt_tokens": 150,
    "completion_tokens": 230,
    "total_tokens": 380,
    "cost_usd": Decimal("0.0038"),
}


def settings(broker: Broker, timeout_s: float = 30) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap, delivery_timeout_seconds=timeout_s)


def records(broker: Broker, topic: str = "llm_usage") -> list[Record]:
    return list(read({"bootstrap.servers": broker.bootstrap}, topic))


def ids(broker: Broker) -> list[str]:
    events = [decode_usage(record.value) for record in records(broker)]
    return sorted(event.id for event in events if isinstance(event, Usage))


@pytest.fixture
def usage_broker(fresh_broker: Broker) -> Broker:
    Admin(settings(fresh_broker)).create("llm_usage", 8, 1, {})
    return fresh_broker


async def some(usage: UsageProducer, count: int) -> list[asyncio.Future[Receipt]]:
    return [await usage.enqueue(team_id=f"team_{number % 20}", org_id="org", data=DATA) for number in range(count)]


def test_everything_sent_is_there_once_on_the_partition_of_its_team(usage_broker: Broker) -> None:
    async def send() -> list[Receipt]:
        async with UsageProducer(settings(usage_broker), source="test", buffer_events=50) as usage:
            first = await usage.send(team_id="team_0", data=DATA, id="evt_mine")
            futures = await some(usage, 500)
            assert usage.unacknowledged <= 50
            return [first, *await asyncio.gather(*futures)]

    receipts = asyncio.run(send())
    found = records(usage_broker)
    assert ids(usage_broker) == sorted(receipt.event_id for receipt in receipts)
    places = {(record.partition, record.offset): record.value for record in found}
    for receipt in receipts:
        event = decode_usage(places[receipt.partition, receipt.offset])
        assert isinstance(event, Usage)
        assert event.id == receipt.event_id
        assert receipt.partition == partition_for(event.team_id.encode(), 8)


def test_without_a_broker_every_event_is_reported_and_can_be_sent_again(usage_broker: Broker) -> None:
    async def outage() -> tuple[Event, ...]:
        async with UsageProducer(settings(usage_broker, 5), source="test") as usage:
            await usage.send(team_id="team_a", data=DATA, id="evt_before")
            usage_broker.kill()
            await usage.enqueue(team_id="team_a", data=DATA, id="evt_dropped")
            future = await usage.enqueue(team_id="team_a", data=DATA, id="evt_future")
            with pytest.raises(NotAcknowledged, match="evt_sent") as sent:
                await usage.send(team_id="team_a", data=DATA, id="evt_sent")
            with pytest.raises(NotAcknowledged, match="evt_future"):
                await future
            with pytest.raises(NotAcknowledged, match="evt_dropped, evt_future") as closing:
                await usage.close()
        return (*sent.value.events, *closing.value.events)

    async def again(events: tuple[Event, ...]) -> None:
        async with UsageProducer(settings(usage_broker), source="test") as usage:
            for event in events:
                await usage.send(event)

    lost = asyncio.run(outage())
    usage_broker.start()
    asyncio.run(again(lost))
    assert set(ids(usage_broker)) == {"evt_before", "evt_dropped", "evt_future", "evt_sent"}


def test_a_broker_that_comes_back_in_time_gets_every_event_once(usage_broker: Broker) -> None:
    async def send() -> None:
        async with UsageProducer(settings(usage_broker, 60), source="test", buffer_events=20) as usage:
            await asyncio.gather(*await some(usage, 20))
            usage_broker.kill()
            futures = await some(usage, 20)
            over = asyncio.ensure_future(some(usage, 20))  # the buffer is full: this waits
            await asyncio.to_thread(usage_broker.start)
            await asyncio.gather(*futures, *await over)

    asyncio.run(send())
    found = ids(usage_broker)
    assert len(found) == len(set(found)) == 60


def test_every_producer_names_a_missing_topic_at_once(fresh_broker: Broker) -> None:
    kafka, admin = settings(fresh_broker), Admin(settings(fresh_broker))
    began_s = monotonic_s()
    with ThreadPoolExecutor(2) as beside:
        raw = beside.submit(raw_into_nothing, kafka)
        transacted = beside.submit(transacted_into_nothing, kafka)
        asyncio.run(usage_without_a_topic(kafka, admin))
        assert "2 of 2 records" in raw.result(30)
        assert transacted.result(30) == no_topics(["raw_missing"])
    assert monotonic_s() - began_s < 28, "not after the delivery timeout of 30 s"


def raw_into_nothing(kafka: KafkaSettings) -> str:
    out = RawProducer(kafka)
    out.send("raw_missing", None, b"1")
    out.send("raw_missing", None, b"2")
    with pytest.raises(Misconfigured) as failure:
        out.flush()
    assert no_topics(["raw_missing"]) in str(failure.value)
    return str(failure.value)


def transacted_into_nothing(kafka: KafkaSettings) -> str:
    with pytest.raises(Misconfigured) as failure, TransactedProducer(kafka, "test-missing") as out:
        out.commit([Outgoing("raw_missing", 0, None, b"1")])
    return str(failure.value)


async def usage_without_a_topic(kafka: KafkaSettings, admin: Admin) -> None:
    """Until it is there; then again when it is deleted."""
    usage = UsageProducer(kafka, source="test")
    future = await usage.enqueue(team_id="team_a", data=DATA, id="evt_dropped")
    with pytest.raises(NotWritable, match=r"topic llm_usage does not exist; create it with `streamapp topics apply`"):
        await usage.send(team_id="team_a", data=DATA, id="evt_early")
    assert isinstance(await asyncio.wait_for(settled(future), 10), NotWritable)
    with pytest.raises(NotWritable, match=r"topic dead_letter does not exist"):
        await usage.send(team_id="team_a", data={}, id="evt_refused")
    admin.create("llm_usage", 8, 1, {})
    receipt = await sent_at_last(usage)
    assert receipt.event_id == "evt_early"
    with pytest.raises(NotWritable, match="evt_dropped"):
        await usage.close()


async def settled(future: asyncio.Future[Receipt]) -> BaseException | None:
    await asyncio.wait([future])
    return future.exception()


async def sent_at_last(usage: UsageProducer) -> Receipt:
    """The client asks about once a second for a topic that it has not found."""
    while True:
        try:
            return await usage.send(team_id="team_a", data=DATA, id="evt_early")
        except NotWritable:
            await asyncio.sleep(0.1)


def test_what_is_lost_is_told_by_every_producer_also_when_its_caller_fails(usage_broker: Broker) -> None:
    Admin(settings(usage_broker)).create("raw", 1, 1, {})
    out = RawProducer(settings(usage_broker, 5))  # long enough for a new broker's first answer
    out.send("raw", None, b"1")
    out.flush()

    async def lost() -> Sequence[BaseException | None]:
        together = asyncio.Barrier(3)

        async def cancels() -> None:
            async with UsageProducer(settings(usage_broker, 5), source="test") as usage:
                await together.wait()
                await together.wait()
                task = asyncio.ensure_future(usage.send(team_id="team_a", data=DATA, id="evt_cancelled"))
                await asyncio.sleep(0)  # the task runs up to where it waits for the acknowledgement
                assert usage.unacknowledged == 1
                task.cancel()

        async def fails() -> None:
            async with UsageProducer(settings(usage_broker, 5), source="test") as usage:
                await together.wait()
                await together.wait()
                await usage.enqueue(team_id="team_a", data=DATA, id="evt_lost")
                raise ValueError("mine")

        async def kills() -> None:
            await together.wait()
            usage_broker.kill()
            await together.wait()

        async def heard(work: Coroutine[Any, Any, None]) -> None:
            try:
                await work
            except BaseException:
                await together.abort()  # nobody waits for one who will not come
                raise

        return await asyncio.gather(*map(heard, (cancels(), fails(), kills())), return_exceptions=True)

    cancelled, failed, killed = asyncio.run(lost())
    assert isinstance(cancelled, NotAcknowledged)
    assert "evt_cancelled" in str(cancelled)
    assert isinstance(failed, ValueError)
    assert "evt_lost" in failed.__notes__[0]
    assert killed is None
    for value in (b"2", b"3", b"4"):
        out.send("raw", None, value)
    with pytest.raises(DeliveryFailed, match=r"3 of 4 records were not acknowledged"):
        out.flush()
    assert out.acknowledged == 1


def test_raw_records_arrive_as_they_are(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic = make_topic("raw", partitions=8)
    sent = [(b"team_%d" % (number % 30), b"%d" % number) for number in range(5000)]
    with RawProducer(settings(broker), buffer_records=1000) as out:
        for key, value in sent:
            out.send(topic, key, value)
        out.send(topic, b"team_1", None)
    found = records(broker, topic)
    assert out.acknowledged == len(found) == 5001
    assert sorted((record.key, record.value or b"") for record in found) == sorted([*sent, (b"team_1", b"")])
    assert all(record.partition == partition_for(record.key or b"", 8) for record in found)


def test_the_tail_of_a_topic_is_its_newest_values(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic, config = make_topic("tail", partitions=2), {"bootstrap.servers": broker.bootstrap}
    assert newest_values(config, topic, 5) == []
    producer = Producer(config)
    for number in range(10):
        producer.produce(topic, b"%d" % number, partition=0)
    producer.produce(topic, None, partition=1)
    assert producer.flush(30) == 0
    assert newest_values(config, topic, 3) == [b"7", b"8", b"9"]
    with pytest.raises(Misconfigured, match="does not exist"):
        newest_values(config, "not_there", 3)
