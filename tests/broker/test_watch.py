"""What the watch says of groups on a real broker, whatever becomes of them and of their records."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from broker_lag import consuming
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from promtool import demand_firing

from streamapp.broker.broker import Broker
from streamapp.broker.exporter import agent
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.groups import Seen
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS, TOPICS
from streamapp.watch.lag import SETTLED_MS, GroupSeries, Unread, Watched, watched
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.watcher import Watcher

DAY_MS = 86_400_000


class Stage:
    """A watch over some topics of the shared broker, with a clock that tests move on."""

    def __init__(self, broker: Broker, *registry: Watched) -> None:
        self.servers, self.ahead_ms = broker.bootstrap, 0
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        self.watcher = Watcher(kafka, lambda: wall_ms() + self.ahead_ms, 15, registry=registry, timeout_s=30)
        self.metrics = WatchMetrics(lambda: self.watcher.known)
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        self.told: list[dict[str, float]] = []  # what Prometheus would have of each look

    def look(self, group: str) -> GroupSeries:
        asyncio.run(self.watcher.look())
        assert self.watcher.known.problem == ""
        self.told.append(told(self.metrics))
        return self.watcher.known.series.groups[group]

    def unread(self, group: str) -> Unread:
        (found,) = self.look(group).partitions.values()
        return found

    def send(self, topic: str, count: int, at_ms: int, key: str | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.servers})
        for number in range(count):
            producer.produce(topic, b"x", key=key, partition=0, timestamp=at_ms + number * 1000)
        assert producer.flush(30) == 0

    def commit(self, group: str, topic: str, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def expire(self, topic: str, upto: int) -> None:
        for answer in self.admin.delete_records([TopicPartition(topic, 0, upto)]).values():
            answer.result(30)

    def delete(self, group: str) -> None:
        for answer in self.admin.delete_consumer_groups([group]).values():
            answer.result(30)

    def samples(self, group: str) -> dict[str, float]:
        """Name → value, of the series of one partition of a group."""
        families = text_string_to_metric_families(self.metrics.exposition().decode())
        return {
            sample.name: sample.value
            for family in families
            for sample in family.samples
            if sample.labels.get("group") == group and "partition" in sample.labels
        }


def told(metrics: WatchMetrics) -> dict[str, float]:
    """Series → value, of a scrape."""
    return scraped(metrics.exposition())


def scraped(exposition: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(exposition.decode())
    samples = [sample for family in families for sample in family.samples]
    return {series(one): one.value for one in samples if one.name.startswith(("stream_", "kafka_"))}


def series(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
    return f"{sample.name}{{{labels}}}"


def test_a_group_that_stopped_loses_records_is_deleted_and_its_series_stay(
    broker: Broker, unique: Callable[[str], str], make_topic: Callable[..., str], until: Callable[..., None]
) -> None:
    topic, group = make_topic(), unique("stopped")
    stage, now_ms = Stage(broker, Watched(group, topic, 1, DAY_MS)), wall_ms()
    until(lambda: stage.look(group).state)  # a cluster that just began may still look for its coordinator
    never = stage.look(group)
    assert (never.state, never.members, never.lag(topic)) == ("never_started", 0, 0)
    stage.send(topic, 1000, now_ms - 7_200_000)
    stage.commit(group, topic, 400)
    found = stage.unread(group)
    written_s = 7200 - 400  # the first unread record is the 400th second after the first
    assert found.lag == 600
    assert found.age_s is not None
    assert written_s <= found.age_s <= written_s + 60
    assert found.to_loss_s == DAY_MS / 1000 - found.age_s
    stage.ahead_ms = 3_600_000
    later = stage.unread(group)
    assert later.age_s is not None
    assert later.age_s >= found.age_s + 3600
    stage.expire(topic, 650)
    left = stage.unread(group)
    assert (left.lag, left.expired) == (350, 250)
    assert stage.unread(group).expired == 250
    stage.delete(group)
    gone = stage.look(group)
    assert (gone.state, gone.members) == ("never_started", 0)
    assert stage.samples(group)["kafka_consumer_group_lag"] == 350
    assert stage.samples(group)["stream_records_expired_unread_total"] == 250
    stage.look(group)
    fires = {"GroupWithoutMembers", "RecordsExpireSoon", "RecordsExpiredUnread"}  # its topic keeps a day
    demand_firing(stage.told, {1: set(), len(stage.told) - 1: fires}, group)


def test_a_worker_that_is_killed_and_ends_of_transactions(
    broker: Broker, unique: Callable[[str], str], make_topic: Callable[..., str], until: Callable[..., None]
) -> None:
    topic, group = make_topic(), unique("killed")
    stage = Stage(broker, Watched(group, topic, 1, DAY_MS, markers=2))
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(10):
        producer.produce(topic, b"x", partition=0)
    producer.commit_transaction(30)
    with consuming(broker.bootstrap, group, topic, upto=100) as worker:
        until(lambda: stage.unread(group).lag == 1, timeout_s=60)  # the marker, which no reader is given
        assert (stage.look(group).state, stage.look(group).members) == ("stable", 1)
        stage.ahead_ms = SETTLED_MS + 1
        found = stage.unread(group)
        assert (found.lag, found.age_s) == (0, 0)
        worker.kill()
        until(lambda: stage.look(group).members == 0, timeout_s=60)
    found, state = stage.unread(group), stage.look(group).state
    assert (state, found.lag, found.age_s) == ("empty", 0, 0)
    stage.send(topic, 5, wall_ms())
    well = len(stage.told) - 1
    ages = []
    for _ in range(3):
        stage.ahead_ms += 60_000
        one = stage.unread(group)
        assert one.age_s is not None
        assert one.lag == 5
        ages.append(one.age_s)
    assert ages == sorted(ages)
    assert ages[2] - ages[0] >= 120
    assert stage.look(group).growth == {topic: 0}
    page = {"GroupWithoutMembers", "RecordsExpireSoon"}  # at the second look; its topic keeps a day
    demand_firing(stage.told, {well: set(), well + 2: page, len(stage.told) - 1: page}, group)


def test_idle_and_compacted_topics(
    broker: Broker, unique: Callable[[str], str], make_topic: Callable[..., str]
) -> None:
    idle, group = make_topic(), unique("idle")
    stage, now_ms = Stage(broker, Watched(group, idle, 1, DAY_MS)), wall_ms()
    stage.send(idle, 3, now_ms - 3_600_000)
    stage.commit(group, idle, 3)
    stage.ahead_ms = 30 * DAY_MS
    found = stage.unread(group)
    assert (found.lag, found.age_s, found.to_loss_s) == (0, 0, DAY_MS / 1000)
    assert stage.unread(group) == found
    demand_firing(stage.told, {1: set()}, group)
    rows = make_topic(cleanup_policy="compact")
    stage = Stage(broker, Watched(group, rows, 1, None))
    stage.send(rows, 5, now_ms - 3_600_000, key="same")
    stage.commit(group, rows, 2)
    found = stage.unread(group)
    assert (found.lag, found.to_loss_s) == (3, None)
    assert found.age_s is not None
    assert 3590 <= found.age_s <= 3660
    assert "stream_seconds_to_loss" not in stage.samples(group)
    stage.look(group)
    demand_firing(stage.told, {0: set(), 1: {"GroupWithoutMembers"}}, group)


def test_while_kafka_is_away_nothing_is_said_of_groups_and_that_is_said(broker: Broker) -> None:
    stage = Stage(broker, Watched("nobodys-group", "nobodys_topic", 2, DAY_MS))
    asyncio.run(stage.watcher.look())
    series = stage.watcher.known.series
    assert (series.groups["nobodys-group"].partitions, series.unknown["offsets"]) == ({}, 2)
    assert stage.watcher.health() == "ok"
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    away = Watcher(kafka, wall_ms, 15, timeout_s=1)
    assert away.health() == "starting"
    asyncio.run(away.look())
    assert "does not answer" in away.known.problem
    assert (away.health(), away.known.series.groups, away.known.series.unknown["kafka"]) == ("blind", {}, 1)
    text = WatchMetrics(lambda: away.known).exposition().decode()
    assert 'stream_watch_unknown{reason="kafka"} 1.0' in text
    assert "kafka_consumer_group_lag{" not in text
    assert not [line for line in text.splitlines() if line.startswith("stream_watch_last_success")]


@pytest.mark.long  # two starts of a broker with its exporter, which no cache of Java makes quick
def test_a_broker_that_is_down_is_told_once_and_what_waits_again_when_it_is_back(
    new_broker: Callable[..., Broker], formatted: Path, cache_dir: Path, until: Callable[..., None]
) -> None:
    """The watch and the broker's exporter as they speak, a minute each; of nothing else is anybody told."""
    port, up = free_port(), 'up{job="kafka",instance="kafka-0"}'
    broker = new_broker(formatted, jvm_flags=agent(cache_dir, port))
    broker.start(120)
    apply(Admin(KafkaSettings(bootstrap_servers=broker.bootstrap)), TOPICS, 1)
    stage, minutes = Stage(broker, *watched()), list[dict[str, float]]()

    def minute() -> None:
        asyncio.run(stage.watcher.look())
        found = told(stage.metrics) | {up: 0, 'stream_reconciliation_difference{pair="usage=bills"}': 0}
        success = "stream_watch_last_success_timestamp_seconds{}"
        found[success] -= began_s  # promtool's clock begins at 0
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found |= {**scraped(answer.read()), up: 1}
        minutes.append(found)
        stage.ahead_ms += 60_000

    stage.send("audit_log", 3, wall_ms() - 60_000)
    until(lambda: all(stage.look(one.name).state for one in GROUPS), timeout_s=60)
    began_s = wall_ms() / 1000
    for _ in range(3):
        minute()
    broker.stop()
    for _ in range(17):
        minute()
    broker.start(120)
    until(lambda: all(stage.look(one.name).state for one in GROUPS), timeout_s=60)
    for _ in range(3):
        minute()
    waits, down = {"GroupWithoutMembers"}, {"BrokerDown"}
    blind = {"BrokerDown", "WatchBlind"}
    unknown = {"WatchUnknown", "GroupUnwatched"}
    expected = {0: set[str](), 1: waits, 2: waits, 3: set[str](), 4: down, 6: blind, 17: blind, 18: blind | unknown}
    demand_firing(minutes, expected | {20: set(), 21: waits, 22: waits})


def test_the_process_serves_what_it_sees_until_it_is_told_to_stop(
    broker: Broker, tmp_path: Path, until: Callable[..., None]
) -> None:
    port = free_port()
    given = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "STREAM_WATCH__PORT": str(port),
        "STREAM_STATE_DIR": str(tmp_path),
    }
    process = subprocess.Popen([sys.executable, "-m", "streamapp", "watch"], env={**os.environ, **given})

    def asked(path: str) -> str:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
        return ""

    try:
        until(lambda: json.loads(asked("/health") or "{}") == {"status": "ok"}, timeout_s=60)
        text = asked("/metrics")
        assert 'stream_group_members{group="billing-agg"}' in text
        assert "stream_watch_last_success_timestamp_seconds 1." in text
        assert set(json.loads(asked("/watch.json"))["groups"]) == {one.name for one in GROUPS}
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_question_of_workers_that_fails_is_a_look_that_failed_and_not_the_end(broker: Broker) -> None:
    async def broken(seen: Seen) -> dict[str, None]:
        raise ValueError("unexpected")

    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    watcher = Watcher(kafka, wall_ms, 15, ask=broken, registry=(), timeout_s=30)
    asyncio.run(watcher.look())
    assert "ValueError unexpected" in watcher.known.problem
