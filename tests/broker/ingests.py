"""Captured events, the workers that bring them to ClickHouse's engine, and what is there, for tests."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path

import forked
from confluent_kafka import Producer
from conftest import wait_until
from markers import await_markers

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.provision import apply
from streamapp.processes.child import Child, free_port, listens
from streamapp.settings import ClickHouseSettings, KafkaSettings, Settings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import migrate
from streamapp.topics.registry import TOPICS
from streamapp.verify.copies.events_clickhouse import PAIR
from streamapp.verify.report import PairReport

GROUP = "analytics-ingest"
TOPIC = "events_plugin_ingestion"
PARTITIONS = 16
AGENT = "streamapp.agents.analytics_ingest"


def event(number: int) -> bytes:
    """A captured event, as capture writes it; every seventh cannot be kept."""
    text = {
        "schema": "hanzo.stream.v1",
        "id": f"evt_{number:026d}",
        "type": "insights.event.captured",
        "source": "insights-capture",
        "timestamp": "2026-01-15T10:31:00.456Z" if number % 7 else "yesterday",
        "team_id": f"team_{number % 40}",
        "data": {
            "event": "$pageview",
            "distinct_id": f"user_{number % 100}",
            "properties": {"$browser": "Chrome", "number": number},
            "uuid": f"01942a00-0000-7000-8000-{number:012d}",
        },
    }
    return json.dumps(text, separators=(",", ":")).encode()


class Ingest:
    """A broker with captured events, an engine, and the workers between them."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        self.admin = Admin(self.kafka)
        self.port = free_port()
        self.children: list[Child] = []
        self.sent = 0
        self.engine = self.start_engine()
        apply(self.admin, TOPICS, 1)

    def start_engine(self) -> Child:
        variables = [f"STREAM_STATE_DIR={self.folder}", f"STREAM_CLICKHOUSE__PORT={self.port}"]
        command = [*variables, sys.executable, "-m", "streamapp", "clickhouse"]
        self.engine = Child("/usr/bin/env", command, self.folder / "engine.log")
        self.children.append(self.engine)
        wait_until(lambda: listens(self.port), 60)
        return self.engine

    def stop_engine(self) -> None:
        """As if the power had gone."""
        self.engine.end(signal.SIGKILL, 10)

    def worker(self, agent: str = AGENT, code: Path | None = None, **settings: object) -> WorkerProcess:
        """A worker with small batches: many chances to be hit between two writes."""
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "STREAM_STATE_DIR": str(self.folder / "state"),
            "STREAM_WEB__PORT": "0",
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "20",
            "STREAM_WORKER__CHUNK_LINGER_MS": "5",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
            "STREAM_CLICKHOUSE__URL": f"http://127.0.0.1:{self.port}",
            "STREAM_CLICKHOUSE__BATCH_ROWS": "60",
            "STREAM_CLICKHOUSE__FLUSH_SECONDS": "0.2",
        } | {f"STREAM_{name.upper()}": str(value) for name, value in settings.items()}
        worker = forked.worker(self.folder / f"worker-{len(self.children)}.log", environment, agent, code)
        self.children.append(worker)
        return worker

    def send(self, count: int) -> None:
        """So many events more."""
        producer = Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
            }
        )
        for number in range(self.sent, self.sent + count):
            producer.produce(TOPIC, event(number), f"team_{number % 40}".encode())
        assert producer.flush(30) == 0
        self.sent += count

    def done(self) -> int:
        return sum(self.admin.committed(GROUP).values())

    def drain(self, *needed: WorkerProcess) -> None:
        """Wait until everything that was sent is committed."""

        def holds() -> bool:
            for worker in needed:
                assert worker.runs, worker.said()[-3000:]
            return self.done() == self.sent

        wait_until(holds, 180)

    def migrate(self) -> None:
        """Make the tables, as a worker does when it starts."""
        clickhouse = ClickHouse(ClickHouseSettings(url=f"http://127.0.0.1:{self.port}"))
        migrate(clickhouse)
        clickhouse.close()

    def rows(self) -> list[int]:
        """The numbers of the events that are kept, copies too."""
        clickhouse = ClickHouse(ClickHouseSettings(url=f"http://127.0.0.1:{self.port}"))
        found = clickhouse.rows("SELECT toUInt32(right(toString(uuid), 12)) FROM stream.events ORDER BY 1")
        clickhouse.close()
        return [int(number) for (number,) in found]

    def whole(self) -> None:
        """Every event is there, once; those that cannot be kept are dead letters; the check agrees."""
        numbers = range(self.sent)
        kept, wanted = Counter(self.rows()), Counter(number for number in numbers if number % 7)
        assert (wanted - kept, kept - wanted) == (Counter(), Counter()), "missing, and there more than once"
        letters = [json.loads(record.value or b"")["data"] for record in self.letters()]
        places = {(letter["source_partition"], letter["source_offset"]) for letter in letters}
        assert len(letters) == len(places) == len([number for number in numbers if not number % 7])
        report = self.check()
        assert report.difference == 0, report.as_json()
        assert report.events == len(self.rows())

    def check(self) -> PairReport:
        """What `streamapp verify` says of it."""
        report: PairReport = PAIR.check(
            Settings(kafka=self.kafka, clickhouse=ClickHouseSettings(url=f"http://127.0.0.1:{self.port}"))
        )
        return report

    def ends(self) -> dict[int, int]:
        """The end of each partition."""
        ends = self.admin.end_offsets([(TOPIC, number) for number in range(PARTITIONS)])
        return {number: end for (_, number), end in ends.items()}

    def letters(self) -> list[Record]:
        await_markers(self.admin, "dead_letter")
        return list(read({"bootstrap.servers": self.broker.bootstrap}, "dead_letter"))

    def end(self) -> None:
        for child in self.children:
            child.end(signal.SIGKILL, 10)
