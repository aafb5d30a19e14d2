"""What a broker is asked, by its own count: how `python -m bench trickle` reads it, and what a transaction costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from bench.broker_cost import BrokerCost, Counts
from streamapp.broker.broker import Broker
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.settings import KafkaSettings

TRANSACTIONS = 5


def test_a_transaction_asks_once_for_all_its_topics(
    broker: Broker, cache_dir: Path, make_topic: Callable[..., str], unique: Callable[[str], str]
) -> None:
    assert broker.pid is not None
    source, rows, bills, letters = (make_topic(name) for name in ("source", "rows", "bills", "letters"))
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    sends = [Send(name, 0, b"key", b"value") for name in (bills, letters)]
    cost = BrokerCost(broker.pid, cache_dir)
    readings: list[Counts] = []

    async def commit() -> list[int | None]:
        producer = PartitionProducer(kafka, unique("group"), TopicPartition(source, 0), rows)
        await producer.start()
        try:
            await producer.commit(Transaction({b"row": b"0"}, sends, 1))  # learns where the topics are
            readings.append(await asyncio.to_thread(cost.requests))
            return [
                await producer.commit(Transaction({b"row": b"1", b"other": b"1"}, sends, number))
                for number in range(2, 2 + TRANSACTIONS)
            ]
        finally:
            await producer.stop()

    behind = asyncio.run(commit())
    readings.append(cost.requests())

    asked = readings[1].of - readings[0].of
    assert (asked["Produce"], asked["EndTxn"]) == (TRANSACTIONS, TRANSACTIONS)
    assert behind == [4 + 3 * number for number in range(TRANSACTIONS)], "two rows and a marker each"
    assert cost.threads().of["data-plane-kafka-request-handler-N"] > 0, "names are Java's, not those that Linux cuts"


def test_what_grew_between_two_readings_is_a_rate() -> None:
    before = Counts(10.0, Counter(Produce=100, Fetch=7))
    after = Counts(12.0, Counter(Produce=110, Fetch=7, EndTxn=50))

    assert after.per_second(before) == pytest.approx({"EndTxn": 25.0, "Produce": 5.0})
