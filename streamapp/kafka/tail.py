"""The last records of a topic, without reading the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamapp.errors import Unavailable
from streamapp.kafka.reader import spans

POLL_S = 0.2
SILENT_POLLS_MAX = 50


def newest_values(config: Mapping[str, Any], topic: str, per_partition: int) -> list[bytes]:
    """The values of the last `per_partition` records of each partition, those that have one, in no order.

    Raises `Unavailable` when Kafka does not answer, `Misconfigured` when there is no such topic.
    """
    ends = {partition: span for partition, span in spans(config, topic).items() if span.end > span.start}
    if not ends:
        return []
    own = {"group.id": "stream-tail", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**config, **own})
    try:
        consumer.assign(
            [
                TopicPartition(topic, partition, max(span.start, span.end - per_partition))
                for partition, span in ends.items()
            ]
        )
        return _to_the_ends(consumer, set(ends))
    except KafkaException as error:
        raise Unavailable(f"topic {topic}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _to_the_ends(consumer: Consumer, left: set[int]) -> list[bytes]:
    values: list[bytes] = []
    silent = 0
    while left:
        messages = consumer.consume(1000, timeout=POLL_S)
        silent = 0 if messages else silent + 1
        if silent > SILENT_POLLS_MAX:
            raise Unavailable(f"partitions {sorted(left)} are silent before their end")
        for message in messages:
            error, value, partition = message.error(), message.value(), message.partition()
            if error is None:
                if value:
                    values.append(value)
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(-1 if partition is None else partition)
            else:
                raise KafkaException(error)
    return values
