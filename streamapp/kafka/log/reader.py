"""A raw reader: every record of a topic, from its start to the end it had when the reading began, or a part of it.

Group-less: it commits nothing, joins nothing and disturbs nobody. `read_committed`, so that what an aborted
transaction wrote is never seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Misconfigured, StreamError, Unavailable
from streamapp.extras import command
from streamapp.kafka.clients.login import connected
from streamapp.kafka.trouble import LOGIN_REFUSED, NO_RIGHT, Heard, Right, lacks, to_mend
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.topics.registry import keeps_rows

if TYPE_CHECKING:
    from streamapp.kafka.log.batch import Lost

BATCH_RECORDS = 10_000
POLL_SECONDS = 0.2
ANSWER_SECONDS = 10.0  # metadata and watermarks: one round trip each
DAMAGED = (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED, KafkaError._UNDERFLOW)
MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)  # a new topic, or one changing brokers


class Record(NamedTuple):
    """One record as it stands in the log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()  # only for those who ask: they cost time


class Span(NamedTuple):
    """The part of a partition that is there: first offset, and the offset behind the last stable record."""

    start: int
    end: int


def spans(config: Mapping[str, Any], topic: str, answer_seconds: float = ANSWER_SECONDS) -> dict[int, Span]:
    """What each partition of the topic holds now. `end` counts control records, too.

    Raises `Unavailable` when Kafka does not answer, `Misconfigured` when there is no such topic.
    """
    with _asking(config, topic) as consumer:
        partitions = _partitions(consumer, topic, answer_seconds)
        return {partition: _span(consumer, topic, partition, answer_seconds) for partition in partitions}


def at_time(
    config: Mapping[str, Any], topic: str, at_ms: int, answer_seconds: float = ANSWER_SECONDS
) -> dict[int, int]:
    """Of each partition the first offset whose record has this timestamp or a later one; where there is none, the end
    of the log. Raises as `spans`."""
    with _asking(config, topic) as consumer:
        asked = [TopicPartition(topic, number, at_ms) for number in _partitions(consumer, topic, answer_seconds)]
        found = {one.partition: one.offset for one in consumer.offsets_for_times(asked, timeout=answer_seconds)}
        return {
            partition: offset if offset >= 0 else _span(consumer, topic, partition, answer_seconds).end
            for partition, offset in found.items()
        }


@contextmanager
def _asking(config: Mapping[str, Any], topic: str) -> Iterator[Any]:
    """A consumer for questions about a topic, or for a reading of it. What it raises is translated."""
    heard = Heard()
    consumer = raw_consumer(config, heard)
    try:
        yield consumer
    except KafkaException as error:
        consumer.poll(0)  # delivers what is heard
        raise translated(heard.behind(error.args[0]), topic, config) from None
    finally:
        consumer.close()


def read(
    config: Mapping[str, Any],
    topic: str,
    upto: Mapping[int, Span] | None = None,
    silence_seconds: float = 30.0,
    headers: bool = False,
) -> Iterator[Record]:
    """Every committed record of the topic in offset order within each partition, in the spans of `upto` (default: all
    there is as the first record is asked for).

    A batch that cannot be read is one record, at its first offset, with an `UnreadableBatch` as its value; in a
    changelog it is `Misconfigured`.
    Ends also when the last offsets hold nothing to deliver: markers of transactions, aborted or compacted records.
    Raises `Unavailable` when no partition gets on for `silence_seconds`, `Misconfigured` when there is no such topic.
    """
    wanted = spans(config, topic) if upto is None else upto
    ends = {partition: span.end for partition, span in wanted.items() if span.end > span.start}
    if not ends:  # nothing to connect for: an open page asks every other second
        return
    with _asking(config, topic) as consumer:
        consumer.assign([TopicPartition(topic, partition, wanted[partition].start) for partition in ends])
        yield from _until(consumer, topic, ends, silence_seconds, headers, config)


def _until(
    consumer: Consumer,
    topic: str,
    ends: dict[int, int],
    silence_seconds: float,
    headers: bool,
    config: Mapping[str, Any],
) -> Iterator[Record]:
    left, quiet_polls = set(ends), 0
    passed = dict.fromkeys(ends, -1)  # the last offset of the newest batch that cannot be read
    while left:
        messages = consumer.consume(BATCH_RECORDS, timeout=POLL_SECONDS)
        quiet_polls = 0 if messages else quiet_polls + 1
        if quiet_polls * POLL_SECONDS >= silence_seconds:
            raise Unavailable(f"topic {topic}: silent before the end of partitions {sorted(left)}")
        for message in messages:
            partition, error = message.partition(), message.error()
            if message.offset() is not None and 0 <= message.offset() <= passed[partition]:
                continue
            if error is None:
                if message.offset() < ends[partition]:
                    yield _record(topic, message, headers)
                arrived = message.offset() >= ends[partition] - 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # The last offsets of a transactional log are markers that no consumer is given, so waiting for the
                # last offset would wait for ever. This event says that nothing more can be read now.
                arrived = True
            elif error.code() in DAMAGED:
                record = _lost(config, topic, message, error)
                passed[partition] = _last(record)
                if record.offset < ends[partition]:
                    yield record
                arrived = passed[partition] >= ends[partition] - 1
                if not arrived:
                    consumer.seek(TopicPartition(topic, partition, passed[partition] + 1))
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # librdkafka looks for a coordinator
                continue
            else:
                raise KafkaException(error)
            if arrived and partition in left:
                left.remove(partition)
                consumer.incremental_unassign([TopicPartition(topic, partition)])


def _lost(config: Mapping[str, Any], topic: str, message: Message, error: KafkaError) -> Record:
    """The record that stands for a batch that cannot be read, as the groups' workers refuse it: at its first offset."""
    partition = message.partition()
    found = damaged(config, topic, partition, message.offset(), error)
    if keeps_rows(topic):
        raise Misconfigured(
            f"{topic}: {found.batch.error}; the table would lack its rows. See docs/runbook.md, A changelog that "
            "cannot be read"
        )
    return Record(topic, partition, found.batch.first, found.timestamp_ms, None, found.batch)


def damaged(config: Mapping[str, Any], topic: str, partition: int, offset: int, error: KafkaError) -> Lost:
    """The batch at an offset that the client cannot read. Raises `Unavailable`, and `Misconfigured` where the extra
    `worker` is not installed: aiokafka, which fetches the batch, belongs to it, and who reads bills has none."""
    batch_at = command("streamapp.kafka.log.raw_batch").batch_at
    found: Lost = batch_at(config, topic, partition, offset, f"cannot be read: {error.str()}", ANSWER_SECONDS)
    return found


def _last(record: Record) -> int:
    assert isinstance(record.value, UnreadableBatch)
    return record.value.last


def _record(topic: str, message: Message, headers: bool) -> Record:
    facts = message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value()
    return Record(topic, *facts, tuple(message.headers() or ()) if headers else ())


def raw_consumer(config: Mapping[str, Any], heard: Heard, **other: Any) -> Consumer:
    """A client that is given committed records, belongs to no group and commits nothing. `other`: `group_id=` and what
    else differs, in librdkafka's names with underscores."""
    own = {
        "group.id": "stream-raw-reader",  # librdkafka wants a name; no group is formed, and no right on one is needed
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",  # retention may cut the log while it is read
        "enable.partition.eof": True,
        "check.crcs": True,
        "allow.auto.create.topics": False,
    }
    changed = {name.replace("_", "."): value for name, value in other.items()}
    return connected(Consumer, {**config, **own, **changed}, heard)


def _partitions(consumer: Consumer, topic: str, answer_seconds: float) -> list[int]:
    found = consumer.list_topics(topic, timeout=answer_seconds).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def _span(consumer: Consumer, topic: str, partition: int, answer_seconds: float) -> Span:
    until_s = monotonic_s() + answer_seconds
    while True:
        try:
            edges = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=answer_seconds)
        except KafkaException as error:
            if error.args[0].code() not in MOVING or monotonic_s() > until_s:
                raise
            consumer.poll(POLL_SECONDS)  # nothing is assigned: this only lets the client learn of the new leader
            continue
        if edges is None:
            raise Unavailable(f"topic {topic}: Kafka did not say where the log of partition {partition} ends")
        return Span(*edges)


def translated(error: KafkaError, topic: str, config: Mapping[str, Any]) -> StreamError:
    """An error of a reader's client, as ours."""
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return Misconfigured(f"topic {topic} does not exist; create it with `streamapp topics apply`")
    if error.code() in NO_RIGHT:
        return Denied(lacks(config.get("sasl.username"), Right("READ", "topic", topic)))
    if error.code() in LOGIN_REFUSED:
        return Misconfigured(f"cannot read {topic}: {to_mend(error, topic, None)}")
    return Unavailable(f"topic {topic}: {error.str()}")
