"""An offset commit that reaches a group's coordinator behind the end of its transaction, and so never ends.

Brokers refuse it since Kafka 4.0 (KIP-890), unless they were told not to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.transaction import TxnOffsetCommitRequest
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from conftest import wait_until

from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.aio import aiokafka_config
from streamapp.kafka.clients.security import confluent_config
from streamapp.settings import KafkaSettings

VERIFIES = "transaction.partition.verification.enable"
GROUP_COORDINATOR = 0


@contextmanager
def unverified(kafka: KafkaSettings) -> Iterator[None]:
    """The brokers take such a commit while the block lasts."""
    client = AdminClient(confluent_config(kafka))

    def alter(how: AlterConfigOpType) -> None:
        entry = ConfigEntry(VERIFIES, "false", incremental_operation=how)
        for number in client.list_topics(timeout=30).brokers:
            resource = ConfigResource(ConfigResource.Type.BROKER, str(number), incremental_configs=[entry])
            client.incremental_alter_configs([resource])[resource].result(30)

    alter(AlterConfigOpType.SET)
    try:
        yield
    finally:
        alter(AlterConfigOpType.DELETE)


def left_late(kafka: KafkaSettings, group: str, topic: str, partition: int, transactional_id: str) -> None:
    """Offset 0 is committed, offset 1 comes late."""
    asyncio.run(_left_late(kafka, group, TopicPartition(topic, partition), transactional_id))


async def _left_late(kafka: KafkaSettings, group: str, at: TopicPartition, transactional_id: str) -> None:
    async with AIOKafkaProducer(**aiokafka_config(kafka), transactional_id=transactional_id) as producer:
        async with producer.transaction():
            await producer.send_offsets_to_transaction({at: OffsetAndMetadata(0, "")}, group)
        await asyncio.to_thread(
            wait_until, lambda: Admin(kafka).committed(group, [at]) == {at: 0}
        )  # its marker is there
        client, owner = producer.client, producer._txn_manager
        node = (
            await client.send(client.get_random_node(), FindCoordinatorRequest(group, GROUP_COORDINATOR))
        ).coordinator_id
        assert await client.ready(node)
        offsets = [(at.topic, [(at.partition, 1, "")])]
        request = TxnOffsetCommitRequest(transactional_id, group, owner.producer_id, owner.producer_epoch, offsets)
        answer = await client.send(node, request)
        assert answer.errors == [(at.topic, [(at.partition, 0)])], answer
