"""analytics-ingest as people run it, on ClickHouse's engine: every event is a row, once, whatever happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from conftest import wait_until
from ingests import GROUP, TOPIC, Ingest

from streamapp.broker.broker import Broker
from streamapp.kafka.clients.admin_client import AdminClient

PLANTED = Path(__file__).parent / "planted"


@pytest.fixture
def stack(ready_broker: Broker, tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(ready_broker, tmp_path)
    yield made
    made.end()


def test_kill_9_and_a_second_worker(stack: Ingest) -> None:
    stack.send(3000)
    first = stack.worker()
    wait_until(lambda: stack.done() > 300, 60)
    first.kill()
    again, second = stack.worker(), stack.worker()
    wait_until(lambda: stack.done() > 1500, 60)
    second.kill()
    stack.send(500)
    stack.drain(again)
    stack.whole()


@pytest.mark.long
def test_clickhouse_goes_away_and_comes_back(stack: Ingest) -> None:
    stack.send(1000)
    worker = stack.worker()
    wait_until(lambda: stack.done() > 100, 60)
    stack.stop_engine()
    stack.send(1000)
    wait_until(lambda: "stands still" in worker.said(), 60)
    stack.start_engine()
    stack.drain(worker)
    stack.whole()


@pytest.mark.long
def test_a_worker_ends_between_the_insert_and_its_commit(stack: Ingest) -> None:
    stack.send(1500)
    ending = stack.worker("ending_ingest", PLANTED)
    wait_until(lambda: not ending.runs, 60)
    assert ending.exit_code == 9, ending.said()[-2000:]
    kept = len(stack.rows())
    assert kept > stack.done() - 1500 // 7
    stack.drain(stack.worker())
    stack.whole()


def test_the_check_waits_for_letters_that_nobody_sees_yet(stack: Ingest) -> None:
    """A group's offset and the dead letters of the same transaction do not become visible together."""
    stack.send(1)  # it cannot be kept
    client = AdminClient({"bootstrap.servers": stack.broker.bootstrap})
    (place,) = (TopicPartition(TOPIC, number, 1) for number, end in stack.ends().items() if end)
    done = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, [place])])
    done[GROUP].result(30)
    assert stack.done() == 1  # Kafka tells a refusal in the result
    stack.migrate()
    writer = Producer({"bootstrap.servers": stack.broker.bootstrap, "transactional.id": "letters", "log_level": 0})
    writer.init_transactions(30)
    writer.begin_transaction()
    where = {"source_topic": TOPIC, "source_partition": place.partition, "source_offset": 0}
    said = {**where, "group": GROUP, "reason": "invalid_timestamp"}
    writer.produce("dead_letter", json.dumps({"type": "stream.event.rejected", "data": said}))
    assert writer.flush(30) == 0
    ending = threading.Timer(0.5, writer.commit_transaction, (30,))
    ending.start()
    report = stack.check()
    assert (report.difference, report.events) == (0, 0), report.as_json()
    ending.join()
