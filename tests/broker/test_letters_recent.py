"""What the pages read of `dead_letter`: the newest, bounded, and then only what is new."""

from __future__ import annotations

import asyncio

import pytest
from conftest import create_topic, wait_until
from emptied import Emptied
from letters_fake import record

from streamapp.broker.broker import Broker
from streamapp.dead_letters.done import DONE_TOPIC, Receipt, read_done, row, tombstone
from streamapp.dead_letters.recent import FRESH_MS, RecentLetters
from streamapp.errors import Refused, StreamError, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.produce.raw_producer import RawProducer
from streamapp.kafka.produce.transacted import TransactedProducer
from streamapp.settings import KafkaSettings


@pytest.fixture(scope="module")
def alone(emptied: Emptied) -> Broker:
    """A broker of this module."""
    return emptied.next()


@pytest.fixture
def kafka(alone: Broker) -> KafkaSettings:
    """Its topics of dead letters and receipts, both made anew."""
    kafka = KafkaSettings(bootstrap_servers=alone.bootstrap, delivery_timeout_seconds=10)
    for topic, configs in (("dead_letter", {}), (DONE_TOPIC, {"cleanup.policy": "compact"})):
        delete(kafka, topic)
        create_topic(alone, topic, configs=configs)
    return kafka


def delete(kafka: KafkaSettings, topic: str) -> None:
    """Delete a topic, if it is there, and wait until it is gone."""
    admin = Admin(kafka)
    if topic in admin.topics():
        client = AdminClient({**confluent_config(kafka), "log_level": 0})
        client.delete_topics([topic])[topic].result(timeout=30)
        wait_until(lambda: topic not in admin.topics())


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        self.now_ms += FRESH_MS  # nothing is fresh any more
        return self.now_ms


def send(kafka: KafkaSettings, numbers: range) -> None:
    with RawProducer(kafka) as out:
        for number in numbers:
            made = record(number)
            out.send("dead_letter", made.key, made.value)


def offsets(recent: RecentLetters) -> list[int | None]:
    """Of the records that the dead letters are about."""
    return [one.letter.offset for one in asyncio.run(recent.recent()).entries]


def test_the_newest_are_read_backwards_then_only_what_is_new(kafka: KafkaSettings) -> None:
    recent = RecentLetters(kafka, Clock(), entries_max=700)
    assert offsets(recent) == []

    send(kafka, range(1_200))
    assert offsets(recent) == [1000 + number for number in range(1_199, 499, -1)]
    late = RecentLetters(kafka, Clock(), entries_max=700)
    assert offsets(late)[:700] == offsets(recent)
    assert asyncio.run(late.recent()).in_log == 1_200

    send(kafka, range(1_200, 1_203))
    with RawProducer(kafka) as out:
        out.send("dead_letter", b"llm_usage", b"not a dead letter")
    found = asyncio.run(recent.recent())
    assert [one.letter.offset for one in found.entries[:4]] == [2_202, 2_201, 2_200, 2_199]
    assert (len(found.entries), found.unreadable, found.in_log) == (700, 1, 1_204)
    whole = asyncio.run(recent.whole(found.entries[0].letter.at))
    assert whole is not None
    assert whole.value
    assert asyncio.run(recent.whole(("dead_letter", 0, 99_999))) is None


def test_receipts_and_a_topic_made_again_are_noticed(alone: Broker, kafka: KafkaSettings) -> None:
    recent = RecentLetters(kafka, Clock())
    send(kafka, range(3))
    first, *_ = asyncio.run(recent.recent()).entries
    assert asyncio.run(recent.recent()).done.state(first.letter) == "waiting"
    with TransactedProducer(kafka, "test") as out:
        out.commit([row(Receipt(first.letter.id, "dropped", 1, reason="known"))])
        wait_until(lambda: asyncio.run(recent.recent()).done.state(first.letter) == "dropped")
        assert read_done(confluent_config(kafka)).by_letter[first.letter.id].reason == "known"
        out.commit([tombstone(first.letter.id)])
    wait_until(lambda: asyncio.run(recent.recent()).done.state(first.letter) == "waiting")
    assert read_done(confluent_config(kafka)).by_letter == {}

    delete(kafka, "dead_letter")
    create_topic(alone, "dead_letter")
    send(kafka, range(50, 52))
    assert offsets(recent) == [1_051, 1_050]


def test_a_transaction_that_fails_or_is_overtaken_leaves_nothing(kafka: KafkaSettings) -> None:
    receipt = row(Receipt("evt_1", "dropped", 1))
    with TransactedProducer(kafka, "test") as one:
        for attempt in ([receipt._replace(partition=7)], [receipt, receipt._replace(topic="nowhere")]):
            with pytest.raises(StreamError):
                one.commit(attempt)
        with TransactedProducer(kafka, "test") as two:
            with pytest.raises(Refused, match="somebody else began to write"):
                one.commit([receipt])
            assert read_done(confluent_config(kafka)).by_letter == {}
            assert two.commit([receipt]) != []
    wait_until(lambda: set(read_done(confluent_config(kafka)).by_letter) == {"evt_1"})


def test_a_failure_is_told_to_all_who_ask_meanwhile() -> None:
    class Standing(Clock):
        def __call__(self) -> int:
            return self.now_ms

    clock = Standing()
    recent = RecentLetters(KafkaSettings(bootstrap_servers="127.0.0.1:1"), clock)
    failures = []
    for _ in range(3):
        with pytest.raises(Unavailable) as failure:
            asyncio.run(recent.recent())
        failures.append(failure.value)
    assert len({*map(id, failures)}) == 1
    clock.now_ms += FRESH_MS
    with pytest.raises(Unavailable) as failure:
        asyncio.run(recent.recent())
    assert failure.value is not failures[0]
