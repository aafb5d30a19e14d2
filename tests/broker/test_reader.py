"""The raw reader against a real broker: it gives every committed record, and it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from verify_logs import TEN, Logs

from streamapp.broker.broker import Broker
from streamapp.cli.checks.verify import command
from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import Record, Span, read, spans
from streamapp.settings import KafkaSettings, current
from streamapp.verify.reading import LogReader

MakeTopic = Callable[..., str]

PAIRS = ["--pair", "usage=bills", "--pair", "bills=ledger"]


def _config(broker: Broker) -> dict[str, str]:
    return {"bootstrap.servers": broker.bootstrap}


def _producer(broker: Broker, transactional_id: str | None = None) -> Producer:
    # Idempotent: else a batch that is sent again, as on a topic just made, lands behind the next one.
    config: dict[str, Any] = {**_config(broker), "enable.idempotence": True}
    if transactional_id:
        config["transactional.id"] = transactional_id
    producer = Producer(config)
    if transactional_id:
        producer.init_transactions(30)
    return producer


def _send(producer: Producer, topic: str, partition: int, values: list[bytes | None]) -> None:
    told: list[object] = []
    for value in values:
        where = {"partition": partition, "timestamp": 1_736_935_200_000}
        producer.produce(topic, value, b"key", **where, on_delivery=lambda error, message: told.append(error))
    assert producer.flush(30) == 0
    assert told == [None] * len(values)


def test_every_record_of_every_partition_in_order(broker: Broker, make_topic: MakeTopic) -> None:
    topic, producer = make_topic(partitions=3), _producer(broker)
    _send(producer, topic, 0, [b"%d" % number for number in range(25_000)])
    _send(producer, topic, 2, [b"x", None, b""])
    records = list(read(_config(broker), topic))
    assert [record.offset for record in records if record.partition == 0] == list(range(25_000))
    assert [record.value for record in records if record.partition == 0] == [b"%d" % n for n in range(25_000)]
    last = [record for record in records if record.partition == 2]
    assert last[1] == Record(topic, 2, 1, 1_736_935_200_000, b"key", None)
    assert [(record.offset, record.value) for record in last] == [(0, b"x"), (1, None), (2, b"")]
    assert spans(_config(broker), topic) == {0: Span(0, 25_000), 1: Span(0, 0), 2: Span(0, 3)}


def test_topic_without_a_record(broker: Broker, make_topic: MakeTopic) -> None:
    assert list(read(_config(broker), make_topic(partitions=2))) == []


def test_transactions_committed_aborted_and_markers_at_the_end(broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    producer = _producer(broker, f"{topic}-writer")
    for number, committed in enumerate((False, True, False, True, False)):
        producer.begin_transaction()
        for partition in (0, 1) if number != 1 else (0,):
            _send(producer, topic, partition, [b"%d" % number] * 3)
        (producer.commit_transaction if committed else producer.abort_transaction)(30)
    records = list(read(_config(broker), topic))
    assert sorted({(record.partition, record.value) for record in records}) == [(0, b"1"), (0, b"3"), (1, b"3")]
    assert len(records) == 9
    assert spans(_config(broker), topic)[0].end == 20


def test_only_aborted_records(broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic()
    producer = _producer(broker, f"{topic}-writer")
    producer.begin_transaction()
    _send(producer, topic, 0, [b"never"])
    producer.abort_transaction(30)
    assert list(read(_config(broker), topic)) == []


def test_open_transaction_does_not_hold_the_reader(broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic()
    _send(_producer(broker), topic, 0, [b"before"])
    producer = _producer(broker, f"{topic}-writer")
    producer.begin_transaction()
    _send(producer, topic, 0, [b"open"])
    assert [record.value for record in read(_config(broker), topic)] == [b"before"]
    producer.abort_transaction(30)


def test_log_that_does_not_start_at_zero(broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    _send(_producer(broker), topic, 0, [b"%d" % number for number in range(10)])
    _send(_producer(broker), topic, 1, [b"gone"])
    before = [TopicPartition(topic, 0, 4), TopicPartition(topic, 1, 1)]
    admin = AdminClient(_config(broker))  # answers come only while it lives
    for done in admin.delete_records(before).values():
        done.result(30)
    assert [record.offset for record in read(_config(broker), topic)] == [4, 5, 6, 7, 8, 9]
    assert spans(_config(broker), topic) == {0: Span(4, 10), 1: Span(1, 1)}


def test_end_is_where_it_was_when_the_reading_began(broker: Broker, make_topic: MakeTopic) -> None:
    topic, producer = make_topic(), _producer(broker)
    _send(producer, topic, 0, [b"1", b"2"])
    upto = spans(_config(broker), topic)
    _send(producer, topic, 0, [b"3"])
    assert [record.value for record in read(_config(broker), topic, upto)] == [b"1", b"2"]
    reading = read(_config(broker), topic)
    assert [record.value for record in islice(reading, 1)] == [b"1"]
    _send(producer, topic, 0, [b"4"])
    assert [record.value for record in reading] == [b"2", b"3"]


def test_part_of_a_log_since_a_moment_and_behind_an_open_transaction(broker: Broker, make_topic: MakeTopic) -> None:
    topic, producer = make_topic(partitions=3), _producer(broker)
    for at_ms in (1000, 3000, 2000, 4000):
        producer.produce(topic, b"x", partition=0, timestamp=at_ms)
    producer.produce(topic, b"x", partition=1, timestamp=1000)
    assert producer.flush(30) == 0
    logs = LogReader(KafkaSettings(bootstrap_servers=broker.bootstrap), "llm_usage")
    assert logs.committed("nobody", topic) == {}
    spans = logs.spans(topic)
    assert spans == {0: Span(0, 4), 1: Span(0, 1), 2: Span(0, 0)}
    assert logs.since(topic, spans, 2500) == {0: Span(1, 4), 1: Span(1, 1), 2: Span(0, 0)}
    assert logs.since(topic, spans, 1000) == spans
    writer = _producer(broker, f"{topic}-writer")
    writer.begin_transaction()
    _send(writer, topic, 2, [b"open"])
    ending = threading.Timer(0.3, writer.commit_transaction, (30,))
    ending.start()
    assert logs.spans(topic)[2] == Span(0, 2)  # the record and its marker
    ending.join()
    with pytest.raises(Misconfigured, match="no_such_topic"):
        logs.spans("no_such_topic")


def test_missing_topic_is_misconfigured(broker: Broker) -> None:
    with pytest.raises(Misconfigured, match="no_such_topic"):
        list(read(_config(broker), "no_such_topic"))


def test_no_broker_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        spans({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "topic", answer_seconds=0.5)


def test_verify_reads_a_cluster_and_ends_with_its_verdict(
    fresh_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, producer, admin = Logs(), _producer(fresh_broker), AdminClient(_config(fresh_broker))
    logs.use(TEN)
    logs.refuse(logs.use(TEN, value=b"{", counts=False), "malformed_json")
    logs.use(TEN + 3_900_000)
    bill = logs.state(TEN)
    for topic, records in (("llm_usage", logs.usage), ("billing_events", logs.bills), ("dead_letter", logs.letters)):
        admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
        for record in records:
            producer.produce(topic, record.value, record.key, partition=0, timestamp=record.timestamp_ms)
    assert producer.flush(30) == 0
    monkeypatch.setenv("STREAM_KAFKA__BOOTSTRAP_SERVERS", fresh_broker.bootstrap)
    current.cache_clear()
    try:
        right = CliRunner().invoke(command, ["--json", *PAIRS])
        assert right.exit_code == 0, right.output
        shown = json.loads(right.output)
        assert (shown["bills"], shown["ok"]) == (1, True)
        assert [(pair["name"], pair["difference"]) for pair in shown["pairs"]] == [
            ("usage=bills", 0),
            ("bills=ledger", 0),
        ]
        producer.produce("billing_events", bill.value, bill.key, partition=0)
        assert producer.flush(30) == 0
        doubled = CliRunner().invoke(command, PAIRS)
        assert doubled.exit_code == 1
        assert "doubled: billing_events[0]@1" in doubled.output
    finally:
        current.cache_clear()
