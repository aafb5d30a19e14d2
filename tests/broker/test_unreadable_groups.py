"""Batches that cannot be read, in the topic of every group: too large unpacked, or damaged on a broker's disk."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import forked
import pytest
from archives import audit_event, lines, org
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from conftest import wait_until
from ingests import Ingest, event
from raw_batches import DAMAGES, damage, packed_batch, send_raw
from rpc_log import value as call
from usage_log import value as usage
from verify_logs import TEN, Logs

from streamapp.agents.registry import AGENTS
from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import read
from streamapp.schemas.judging.letter import Refused, letter
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import ArchiveSettings, ClickHouseSettings, Settings
from streamapp.sinks.ledger.database import open_ledger
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from streamapp.verify import pairs as verify_pairs

HOUR_MS = 3_600_000
GROUPS = [group for group, _, _ in AGENTS]
WRITES_NO_LETTERS = ("llm-metrics", "dead-letter-monitor")  # billing-agg writes those of usage, nobody those of letters
BAD = ("bomb", *DAMAGES)
BOMB_RECORDS, SPOILED_RECORDS = 70, 3


class Source(NamedTuple):
    """A topic that groups read: one key, and events that all can be counted or kept."""

    topic: str
    key: bytes
    events: Iterator[bytes]

    @property
    def partition(self) -> int:
        return partition_for(self.key, registry.topic(self.topic).partitions)


def sources(now_ms: int) -> list[Source]:
    """Every event topic."""
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    return [
        Source("llm_usage", b"team_1", (usage(f"u-{n}", hour_ms, "team_1") for n in count())),
        Source("agent_rpc_metering", b"agent_1", (call(f"c-{n}", hour_ms, "agent_1", price="1") for n in count())),
        Source("audit_log", org(1).encode(), (audit_event(20 * n + 1) for n in count())),
        Source("events_plugin_ingestion", b"team_1", (event(40 * n + 1) for n in count() if (40 * n + 1) % 7)),
        Source("billing_events", b"org_1", (_bill(n) for n in count())),
        Source("dead_letter", b"audit_log", (_letter(n, now_ms) for n in count())),
    ]


def _bill(number: int) -> bytes:
    logs = Logs()
    logs.use(TEN, team=f"team_{number}")
    return logs.state(TEN, team=f"team_{number}").value or b""


def _letter(number: int, now_ms: int) -> bytes:
    of = Refused(topic="audit_log", producer="iam", reason="malformed_json", error="it is bad", key=None, value=b"?",
                 timestamp_ms=now_ms)  # fmt: skip
    return letter(of, now_ms, number.to_bytes(10)).value


class Stage:
    """A broker whose event topics each hold four batches that cannot be read, and workers of every group."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.ingest = Ingest(broker, folder)
        self.admin = self.ingest.admin
        self.sources = sources(wall_ms())
        self.workers: dict[str, WorkerProcess] = {}
        self.lost: dict[str, list[tuple[int, int]]] = {}  # topic → first and last offset of each batch
        self.sent = dict.fromkeys((source.topic for source in self.sources), 0)
        self.settings = Settings(
            kafka=self.ingest.kafka,
            archive=ArchiveSettings(url=(folder / "archive").as_uri()),
            clickhouse=ClickHouseSettings(url=f"http://127.0.0.1:{self.ingest.port}"),
            ledger_url=f"sqlite:///{folder / 'ledger.db'}",
        )

    def plant(self) -> None:
        """Good events, and the batches between them. Kafka refuses some of them, so it gets others, and its log is
        changed while it is stopped."""
        bomb = packed_batch(BOMB_RECORDS, 1_000_000, wall_ms())
        for source in self.sources:
            self.send(source, 3)
            for how in BAD:
                batch = bomb if how == "bomb" else packed_batch(SPOILED_RECORDS, 100, wall_ms())
                first = send_raw(self.broker.bootstrap, source.topic, source.partition, batch)
                records = BOMB_RECORDS if how == "bomb" else SPOILED_RECORDS
                self.lost.setdefault(source.topic, []).append((first, first + records - 1))
                self.send(source, 1)
        self.broker.stop()
        for source in self.sources:
            for how, (first, _) in zip(DAMAGES, self.lost[source.topic][1:], strict=True):
                damage(self.broker.data_dir, source.topic, source.partition, first, how)
        self.broker.start()

    def send(self, source: Source, events: int) -> None:
        """Append so many good events."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True, "log_level": 0})
        for _ in range(events):
            producer.produce(source.topic, next(source.events), source.key, source.partition)
        assert producer.flush(60) == 0
        self.sent[source.topic] += events

    def start(self) -> None:
        """A worker of every group."""
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "STREAM_STATE_DIR": str(self.folder / "state"),
            "STREAM_WEB__PORT": "0",
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "1",
            "STREAM_WORKER__CHUNK_LINGER_MS": "5",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
            "STREAM_BILLING__IDLE_SECONDS": "1",
            "STREAM_SETTLEMENT__IDLE_SECONDS": "1",
            "STREAM_LEDGER_URL": self.settings.ledger,
            "STREAM_ARCHIVE__URL": self.settings.archive_url,
            "STREAM_ARCHIVE__FLUSH_RECORDS": "3",
            "STREAM_ARCHIVE__FLUSH_SECONDS": "0.5",
            "STREAM_CLICKHOUSE__URL": self.settings.clickhouse.url,
            "STREAM_CLICKHOUSE__BATCH_ROWS": "3",
            "STREAM_CLICKHOUSE__FLUSH_SECONDS": "0.5",
        }
        for group, agent, _ in AGENTS:
            log = self.folder / f"{group}-{len(self.ingest.children)}.log"
            self.workers[group] = forked.worker(log, environment, agent)
            self.ingest.children.append(self.workers[group])

    def kill_each_in_the_middle(self) -> None:
        """End each worker as `kill -9` does, as soon as it has committed anything."""
        left = dict(self.workers)

        def all_ended() -> bool:
            for group, worker in list(left.items()):
                assert worker.runs, worker.said()[-3000:]
                if self.admin.committed(group):
                    left.pop(group).kill()
            return not left

        wait_until(all_ended, 120)

    def put_back(self) -> None:
        """Set every group to the beginning of its topic, as Kafka's own tools do."""
        client = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        for group in GROUPS:
            wait_until(partial(self._is_empty, group))
            (topic,) = registry.group(group).topics
            (partition,) = (source.partition for source in self.sources if source.topic == topic)
            begin = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, 0)])
            for done in client.alter_consumer_group_offsets([begin]).values():
                done.result(timeout=30)

    def _is_empty(self, group: str) -> bool:
        return self.admin.group(group).state == "Empty"

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while all workers run."""

        def holds() -> bool:
            for worker in self.workers.values():
                assert worker.runs, worker.said()[-3000:]
            return condition()

        wait_until(holds, 120)

    def metric(self, group: str, pattern: str) -> float:
        """The sum of the samples of a worker that match."""
        address = re.findall(r"http://[0-9.]+:\d+", self.workers[group].said())
        with suppress(OSError), urlopen(f"{address[0]}/metrics", timeout=5) as answer:
            return sum(float(number) for number in re.findall(rf"^{pattern} ([0-9.]+)$", answer.read().decode(), re.M))
        return -1

    def values(self, topic: str) -> list[bytes]:
        """The values of all records of a topic that can be read."""
        found = (record.value or b"" for record in read({"bootstrap.servers": self.broker.bootstrap}, topic))
        return [value for value in found if not isinstance(value, UnreadableBatch)]

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters that groups have written."""
        found = [json.loads(value) for value in self.values("dead_letter")]
        return [one for one in found if "group" in one["data"]]

    def ledger(self) -> list[str]:
        """The events in the ledger."""

        async def ask() -> list[str]:
            async with open_ledger(self.settings.ledger) as ledger:
                bills, settlements = await ledger.bills(), await ledger.settlements()
                return [one.event for one in bills] + [one.event for one in settlements]

        return sorted(asyncio.run(ask()))


@pytest.fixture
def stage(ready_broker: Broker, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(ready_broker, tmp_path)
    yield made
    made.ingest.end()


@pytest.mark.long  # test_unreadable_batches.py has the shorter test of one group
def test_every_group_goes_on_past_batches_that_cannot_be_read_and_writes_each_letter_once(stage: Stage) -> None:
    stage.plant()
    stage.start()
    stage.kill_each_in_the_middle()
    stage.put_back()
    stage.start()
    for source in stage.sources:
        stage.send(source, 1)
    stage.wait(lambda: len(lines(stage.folder / "archive")) == stage.sent["audit_log"])
    stage.wait(lambda: len(stage.ingest.rows()) == stage.sent["events_plugin_ingestion"])
    stage.wait(lambda: stage.metric("llm-metrics", r"hanzo_llm_requests_total\{.*\}") == stage.sent["llm_usage"])
    stage.wait(lambda: sum(one["data"]["delta"]["requests"] for one in bills(stage)) == stage.sent["llm_usage"])
    stage.wait(lambda: stage.ledger() == sorted(map(bytes.decode, stage.values("billing_events"))))

    expected = sorted(
        (group, source.topic, source.partition, first, last, "unreadable_batch")
        for group in GROUPS
        if group not in WRITES_NO_LETTERS
        for source in stage.sources
        if source.topic in registry.group(group).topics
        for first, last in stage.lost[source.topic]
    )
    stage.wait(lambda: len(told(stage.letters())) == len(expected))
    assert told(stage.letters()) == expected
    unread = r'hanzo_llm_refused_total\{.*reason="unreadable_batch".*\}'
    assert stage.metric("llm-metrics", unread) == len(BAD)
    by = r'stream_dead_letters_total\{group="%s",reason="%s",.*\}'
    stage.wait(
        lambda: (
            stage.metric("dead-letter-monitor", by % ("dead-letter-monitor", "unreadable_batch")) == len(BAD)
            and stage.metric("dead-letter-monitor", by % ("iam", "malformed_json")) == stage.sent["dead_letter"]
            and stage.metric("dead-letter-monitor", by % (".*", "unreadable_batch")) == len(expected) + len(BAD)
        )
    )
    for name, check in verify_pairs.wanted(verify_pairs.NAMES):
        if name not in ("usage=bills", "usage=counters"):  # the bills that were sent are of no usage
            outcome = verify_pairs.look(name, check, stage.settings)
            assert outcome.ok, outcome.as_json()


def bills(stage: Stage) -> list[dict[str, Any]]:
    """What was stated of the usage here."""
    found = [json.loads(value) for value in stage.values("billing_events")]
    return [one for one in found if one.get("team_id") == "team_1" and one["org_id"] == "org_a"]


def told(letters: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """What the dead letters are about. billing-ledger may write one twice, with the same id (docs/adr/0009)."""
    names = ("group", "source_topic", "source_partition", "source_offset", "source_last_offset", "reason")
    found = [(one["id"], tuple(one["data"].get(name) for name in names)) for one in letters]
    again = {one for one in found if one[1][0] == "billing-ledger"}
    return sorted([facts for _, facts in again] + [facts for _, facts in found if facts[0] != "billing-ledger"])
