"""Audit records, the workers that archive them, and what the archive has of them, for tests."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import forked
import zstandard
from confluent_kafka import Producer
from conftest import wait_until
from workers import variable

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import ArchiveSettings, KafkaSettings, Settings
from streamapp.topics.registry import TOPICS

GROUP = "audit-archive"
AGENT = "streamapp.agents.audit_archive"
TRAIL = "audit_log"
PARTITIONS = 4
BEGIN_MS = wall_ms() // 3_600_000 * 3_600_000 - 2 * 3_600_000  # Kafka deletes what is older than its retention


def audit_event(number: int, **data: object) -> bytes:
    """One event of twenty orgs' users."""
    envelope = {
        "schema": "hanzo.stream.v1",
        "id": f"evt_{number:026d}",
        "type": "iam.auth.login_success" if number % 3 else "kms.secret.read",
        "source": "iam",
        "timestamp": format_ms(BEGIN_MS + number),
        "org_id": org(number),
        "data": {"user_id": f"user_{number % 97}", "email": "someone@example.com", "ip": "203.0.113.42", **data},
    }
    return json.dumps(envelope).encode()


def org(number: int) -> str:
    return f"org_{number % 20}"


class Trail:
    """A broker with audit records, and the archivers that were started on it."""

    def __init__(self, broker: Broker, folder: Path, archive: ArchiveSettings | None = None) -> None:
        self.broker, self.folder = broker, folder
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        self.archive = archive or ArchiveSettings(url=(folder / "archive").as_uri())
        self.admin = Admin(self.kafka)
        self.port = free_port()
        self.workers: list[WorkerProcess] = []
        self.sent = 0
        config = {"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "log_level": 0}
        self._producer = Producer({**config, "partitioner": "murmur2_random"})
        apply(self.admin, TOPICS, 1)

    @property
    def settings(self) -> Settings:
        """Of a command on this cluster."""
        return Settings(kafka=self.kafka, archive=self.archive, state_dir=self.folder / "state")

    def environment(self) -> dict[str, str]:
        """What says where broker and archive are."""
        return {"STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap, **where(self.archive)}

    def start(self, agent: str = AGENT, code: Path | None = None, state: str = "state", **more: str) -> WorkerProcess:
        """An archiver. Objects are small and soon written, unless `archive__…` says otherwise.

        A name in capitals is a variable of the agent's own.
        """
        environment = {
            **self.environment(),
            "STREAM_STATE_DIR": str(self.folder / state),
            "STREAM_WEB__PORT": str(self.port),
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "100",
            "STREAM_WORKER__CHUNK_LINGER_MS": "20",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
            "STREAM_ARCHIVE__FLUSH_RECORDS": "150",
            "STREAM_ARCHIVE__FLUSH_SECONDS": "0.5",
            "STREAM_ARCHIVE__TIMEOUT_SECONDS": "2",
        }
        environment |= {variable(name): value for name, value in more.items()}
        worker = forked.worker(self.folder / f"archiver-{len(self.workers)}.log", environment, agent, code)
        self.workers.append(worker)
        return worker

    def start_ready(self, state: str = "state", **more: str) -> WorkerProcess:
        """The same, when it has partitions: only then what a killed one left open is settled."""
        worker = self.start(AGENT, None, state, **more)
        self.wait(worker.takeovers, worker)
        return worker

    def send(self, numbers: Iterable[int]) -> None:
        """Events of these numbers, in order."""
        for number in numbers:
            self.put(audit_event(number), org(number), BEGIN_MS + number)
        assert self._producer.flush(60) == 0

    def put(self, value: bytes | None, key: str, at_ms: int = BEGIN_MS, headers: list[Any] | None = None) -> None:
        """One record."""
        self._producer.produce(TRAIL, value, key.encode(), timestamp=at_ms, headers=headers or [])
        self._producer.poll(0)
        self.sent += 1

    def wait(self, condition: Any, *needed: WorkerProcess, timeout_s: float = 120) -> None:
        """Wait for a condition; fail with a worker's last words when one that is needed ends."""

        def holds() -> bool:
            met = bool(condition())
            for worker in needed:
                assert met or worker.runs, f"an archiver ended with {worker.exit_code}:\n{worker.said()[-3000:]}"
            return met

        wait_until(holds, timeout_s)

    def done(self) -> int:
        """How many records the group has committed."""
        return sum(offset for (topic, _), offset in self.admin.committed(GROUP).items() if topic == TRAIL)

    def drain(self, *needed: WorkerProcess) -> None:
        assert self._producer.flush(60) == 0
        self.wait(lambda: self.done() >= self.sent, *needed)

    def metrics(self, worker: WorkerProcess) -> str:
        """What a worker tells Prometheus."""
        address = re.findall(r"http://[0-9.]+:\d+", worker.said())[0]
        with urlopen(f"{address}/metrics", timeout=5) as answer:
            said: bytes = answer.read()
        return said.decode()

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()


OWN = ("url", "endpoint", "region", "access_key_id", "secret_access_key")


def where(archive: ArchiveSettings) -> dict[str, str]:
    """The variables that say where an archive is."""
    return {
        f"STREAM_ARCHIVE__{name.upper()}": _text(value) for name, value in archive if value is not None and name in OWN
    }


def _text(value: Any) -> str:
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def objects(root: Path) -> list[Path]:
    """The objects of an archive that is a folder, in the order of their names."""
    return sorted(root.rglob("*.jsonl.zst"))


def lines(root: Path) -> list[dict[str, Any]]:
    """Every line of it."""
    found = []
    for path in objects(root):
        text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        found += [json.loads(line) for line in text.splitlines()]
    return found


def assert_each_once(root: Path, numbers: Iterable[int]) -> None:
    """The archive has exactly these events, each once, in the order of its partition's log."""
    found = lines(root)
    assert Counter(line["event"]["id"] for line in found) == Counter(f"evt_{number:026d}" for number in numbers)
    for partition in range(PARTITIONS):
        offsets = [line["offset"] for line in found if line["partition"] == partition]
        assert offsets == sorted(set(offsets))
