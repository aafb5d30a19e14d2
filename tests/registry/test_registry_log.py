"""The topic `_schemas` of a real broker, as one registry reads and writes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from streamapp.broker.broker import Broker
from streamapp.errors import StreamError
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.security import confluent_config
from streamapp.registry.log import Log
from streamapp.registry.records import Highest, Version, written
from streamapp.schemas.released import ID_MAX
from streamapp.settings import KafkaSettings

FIRST = ID_MAX + 1
THEIRS, OURS = Version("theirs", 1, FIRST, "{}"), Version("ours", 1, FIRST + 1, "true")


def test_its_own_write_may_stand_behind_the_stable_end_and_nothing_is_passed_over(
    broker: Broker, make_topic: Callable[..., str], unique: Callable[[str], str], until: Callable[..., None]
) -> None:
    """Somebody else's open transaction holds the stable end back, as markers that are not yet written do."""
    kafka, topic = KafkaSettings(bootstrap_servers=broker.bootstrap), make_topic("schemas", cleanup_policy="compact")
    log = Log(kafka, topic, answer_s=30)
    other = Producer(confluent_config(kafka) | {"transactional.id": unique("other")})
    other.init_transactions(30)
    other.begin_transaction()
    key, value = written(THEIRS)
    other.produce(topic, value, key)
    assert other.flush(30) == 0
    try:
        assert log.take() == []
        log.write([OURS])
        assert log.rest() == []
        assert log.take() == []
        other.commit_transaction(30)
        until(lambda: log.rest() == [THEIRS], timeout_s=30)
        log.write([Highest(FIRST + 5)])
        assert log.rest() == []
    finally:
        log.leave()
    remade(kafka, topic, until)
    until(lambda: "was deleted and made anew" in refused(log))  # the broker may not know the new one for a moment


def refused(log: Log) -> str:
    with pytest.raises(StreamError) as why:
        log.rest()
    return str(why.value)


def remade(kafka: KafkaSettings, topic: str, until: Callable[..., None]) -> None:
    """The same name, empty."""
    client = AdminClient(confluent_config(kafka))
    client.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in client.list_topics(timeout=10).topics)
    client.create_topics([NewTopic(topic, 1, config={"cleanup.policy": "compact"})])[topic].result(30)
