"""The largest rows and statements there can be, through the transaction of a chunk: a real broker takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import TopicPartition
from largest import largest_account, largest_row, largest_statement, names, wide
from verify_logs import HOUR_MS, TEN

from streamapp.broker.broker import Broker
from streamapp.errors import Misconfigured
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka.log.reader import read
from streamapp.meters.calls import rpc_codec, settled
from streamapp.meters.usage import codec, statement
from streamapp.settings import KafkaSettings
from streamapp.store.rows import Writes
from streamapp.topics import registry
from tables.calls.settlement import settle

BILLS = "billing_events"


def of_usage() -> tuple[Writes, bytes]:
    rows = [largest_row(name_of, statement.LINES_MAX) for name_of in (names, wide)]
    for number, row in enumerate(rows):
        row.key = row.key._replace(start_ms=TEN + number * HOUR_MS)
        row.stated = row.totals()
    value = largest_statement(statement.LINES_MAX)
    writes: Writes = {codec.hour_key(row.key): codec.pack_hour(row) for row in rows}
    return writes | {codec.bill_key("evt_1"): value}, value


def of_calls() -> tuple[Writes, bytes]:
    accounts = [largest_account(name_of, settled.METHODS_MAX) for name_of in (names, wide)]
    writes: Writes = {
        rpc_codec.account_key(row.account._replace(currency=currency)): rpc_codec.pack_account(row)
        for row, currency in zip(accounts, ("A" * 16, "B" * 16), strict=True)
    }
    _, value = settled.event(settle(accounts[0], TEN + HOUR_MS, TEN), "agent_rpc_metering", 0)
    return writes | {rpc_codec.settlement_key("evt_1"): value}, value


@pytest.mark.parametrize(
    ("group", "topic", "table", "made"),
    [
        ("billing-agg", "llm_usage", "usage_hourly", of_usage),
        ("rpc-billing", "agent_rpc_metering", "rpc_hourly", of_calls),
    ],
)
def test_a_broker_takes_the_largest(
    ready_broker: Broker,
    until: Callable[..., None],
    group: str,
    topic: str,
    table: str,
    made: Callable[[], tuple[Writes, bytes]],
) -> None:
    kafka = KafkaSettings(bootstrap_servers=ready_broker.bootstrap)
    changelog = registry.changelog(group, table)
    writes, value = made()
    key = next(names(1)).encode()

    async def commit(*transactions: Transaction) -> None:
        producer = PartitionProducer(kafka, group, TopicPartition(topic, 0), changelog)
        await producer.start()
        try:
            for transaction in transactions:
                await producer.commit(transaction)
        finally:
            await producer.stop()

    asyncio.run(commit(Transaction(writes, [Send(BILLS, 0, key, value)], 1)))
    client = {"bootstrap.servers": ready_broker.bootstrap}
    # Kafka answers a commit before its markers are in the logs. A difference is not printed: it would be megabytes.
    until(lambda: {record.key: record.value for record in read(client, changelog)} == writes)
    until(lambda: [record.value for record in read(client, BILLS)] == [value])

    # What does not fit is said before anything is sent: the broker would say it again at every start.
    too_much = bytes(registry.message_bytes_max(BILLS) + 1)
    with pytest.raises(Misconfigured, match=rf"for {BILLS}-0, .* is larger than the \d+ bytes .* Nothing of the chunk"):
        asyncio.run(commit(Transaction({}, [Send(BILLS, 0, b"org", too_much)], 2)))
    assert len(list(read(client, BILLS))) == 1
