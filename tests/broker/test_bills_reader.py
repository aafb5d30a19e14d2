"""The reader of bills on a real broker: committed statements only, killed and resumed, in a group and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from random import Random

import pytest
from confluent_kafka import TopicPartition
from kept_bills import Kept, billed, ledger_of

from streamapp.broker.broker import Broker
from streamapp.errors import Misconfigured, Refused
from streamapp.kafka.bills.event import Unreadable
from streamapp.kafka.bills.reader import BillsReader
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import spans
from streamapp.kafka.produce.raw_producer import RawProducer
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for

PARTITIONS = 4


def put(kafka: KafkaSettings, topic: str, bills: list[tuple[bytes, bytes]]) -> None:
    """In transactions, as the billing workers do: their markers are offsets, too."""
    with TransactedProducer(kafka, f"{topic}-writer") as out:
        for begin in range(0, len(bills), 5):
            some = bills[begin : begin + 5]
            out.commit([Outgoing(topic, partition_for(key, PARTITIONS), key, value) for key, value in some])


def test_a_killed_reader_ends_with_the_ledgers_rows(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic, kafka, bills = make_topic("bills", PARTITIONS), KafkaSettings(bootstrap_servers=broker.bootstrap), billed()
    assert len(bills) > 40
    put(kafka, topic, bills)
    rng, saved, member = Random(7), Kept(), Kept()

    async def live(reads: int) -> None:
        """Keep so many bills, with the position that belongs to them; then die."""
        nonlocal saved
        kept = deepcopy(saved)
        async with BillsReader(kafka, topic=topic, position=kept.position, follow=False) as reader:
            async for stated in reader:
                kept.keep(stated.event)
                kept.position = reader.position
                reads -= 1
                if rng.random() < 0.5:
                    saved = deepcopy(kept)
                if reads == 0:
                    return
            saved = kept

    async def belong(reads: int) -> None:
        """The same in a group, whose position is moved only now and then."""
        async with BillsReader(kafka, topic=topic, group=f"{topic}-group") as reader:
            async for stated in reader:
                member.keep(stated.event)
                reads -= 1
                if rng.random() < 0.1 or sum(member.revisions.values()) + len(member.revisions) == len(bills):
                    await reader.commit()
                if reads == 0 or sum(member.revisions.values()) + len(member.revisions) == len(bills):
                    return

    for _ in range(4):
        asyncio.run(live(rng.randrange(1, 20)))
    asyncio.run(live(-1))
    for reads in (25, -1):
        asyncio.run(belong(reads))
    ledger, _ = ledger_of(value for _, value in bills)
    for kept in (saved, member):
        assert kept.totals == ledger
        assert kept.sums == ledger
    assert sum(saved.position.values()) >= len(bills)
    nothing_is_lost_when_all_was_read_and_deleted(kafka, topic)


def nothing_is_lost_when_all_was_read_and_deleted(kafka: KafkaSettings, topic: str) -> None:
    """At the end a position is behind the marker of the last transaction; before it, only the marker is deleted."""

    async def read_from(position: dict[int, int]) -> dict[int, int]:
        async with BillsReader(kafka, topic=topic, position=position, follow=False) as reader:
            async for stated in reader:
                position[stated.partition] = stated.offset + 1
            assert reader.position == {number: span.end for number, span in spans(config, topic).items()}
        return position

    config = confluent_config(kafka)
    behind_bills = asyncio.run(read_from({}))
    ends = [TopicPartition(topic, number, span.end) for number, span in spans(config, topic).items()]
    assert {one.partition: one.offset - 1 for one in ends if one.offset} == behind_bills
    admin = AdminClient(config)  # kept: with it go its answers
    for deleted in admin.delete_records(ends).values():
        deleted.result(timeout=30)
    assert asyncio.run(read_from(dict(behind_bills))) == behind_bills


def test_a_reader_that_is_cancelled_goes_on_where_it_was(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic, kafka, found = make_topic("bills"), KafkaSettings(bootstrap_servers=broker.bootstrap), list[int]()

    async def take(reader: BillsReader) -> None:
        async for stated in reader:
            found.append(stated.offset)

    async def take_in_pieces() -> None:
        async with BillsReader(kafka, topic=topic, position={}) as reader:
            with RawProducer(kafka) as out:
                for key, value in billed()[:40]:
                    out.send(topic, key, value)
                    if len(found) % 7 == 0:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(take(reader), 0.05)
            while len(found) < 40:
                with suppress(TimeoutError):
                    await asyncio.wait_for(take(reader), 0.3)

    asyncio.run(take_in_pieces())
    assert found == list(range(40))


def test_what_cannot_be_read_on_from_is_an_error(broker: Broker, make_topic: Callable[..., str]) -> None:
    topic, kafka = make_topic("bills"), KafkaSettings(bootstrap_servers=broker.bootstrap)

    async def all_from(position: dict[int, int]) -> list[int]:
        async with BillsReader(kafka, topic=topic, position=position, follow=False) as reader:
            return [stated.offset async for stated in reader]

    assert asyncio.run(all_from({})) == []
    (key, value), *_ = billed()
    with RawProducer(kafka) as out:
        for each in (value, b"{}", value):
            out.send(topic, key, each)
    with pytest.raises(Unreadable, match="begin at offset 2"):
        asyncio.run(all_from({}))
    assert asyncio.run(all_from({0: 2})) == [2]
    with pytest.raises(Misconfigured, match="ends at offset 3, and was read up to 9"):
        asyncio.run(all_from({0: 9}))
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0, 2)].result(timeout=30)
    with pytest.raises(
        Refused, match=r"begins at offset 2 now, and was read up to 1: 1 offsets were deleted unread\. Take"
    ):
        asyncio.run(all_from({0: 1}))
    assert asyncio.run(all_from({})) == [2]
