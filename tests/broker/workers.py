"""Real workers on a real broker, for tests: start them, hurt them, wait for what must come, read what they wrote."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import forked
from confluent_kafka import KafkaError, Message, Producer
from conftest import wait_until
from markers import await_markers
from searches import is_long

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import BILLING, WorkerProcess
from streamapp.cli.checks.verify import check
from streamapp.clock import monotonic_s, wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.settings import BillingSettings, KafkaSettings, Settings
from streamapp.simulate.usage import HOUR_MS, SimulatedRecord, UsageSpec, usage_stream
from streamapp.topics.registry import TOPICS
from streamapp.verify.report import BillsReport

GROUP = "billing-agg"
USAGE = "llm_usage"
CHANGELOG = "billing-agg-usage_hourly-changelog"
PARTITIONS = 8
GROUP_TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
NEVER_S = 100_000  # an idle time that does not pass in a test
LOAD_EVENTS = 60_000
READY_S = 60.0
DRAIN_S = 60.0


class Sent(NamedTuple):
    """A record to send. `partition` None: where murmur2 puts the key. `record_ms` None: now."""

    key: bytes | None
    value: bytes | None
    partition: int | None = None
    record_ms: int | None = None


class Letter(NamedTuple):
    """What a dead letter says of the record it is about."""

    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None


def variable(name: str) -> str:
    """The environment variable of a setting; what is written in capitals is none of ours and stays as it is."""
    return name if name.isupper() else f"STREAM_{name.upper()}"


def variables(kafka: KafkaSettings) -> dict[str, str]:
    """The settings as an operator gives them."""
    secret = kafka.sasl_password
    password = {} if secret is None else {"STREAM_KAFKA__SASL_PASSWORD": secret.get_secret_value()}
    return {**dict(kafka.variables()), **password}


class Cluster:
    """A broker with the registry's topics, and the workers that were started on it. `kafka`: how to reach a broker
    that wants to know who asks. `how`: makes a worker, `WorkerProcess` as a process."""

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        kafka: KafkaSettings | None = None,
        how: Callable[..., WorkerProcess] = forked.worker,
    ) -> None:
        self.how = how
        self.broker = broker
        self.folder = folder
        self.kafka = kafka or KafkaSettings(bootstrap_servers=broker.bootstrap)
        self.admin = Admin(self.kafka)
        self.web_port = free_port()
        self.workers: list[WorkerProcess] = []
        apply(self.admin, TOPICS, 1)

    # -- workers -------------------------------------------------------------------------------------------------

    def start(self, state: str = "state", **settings: object) -> WorkerProcess:
        """A worker with its rows in `folder/state`. `settings` as in the environment: `billing__idle_seconds=1`."""
        return self.start_agent(BILLING, None, state, **settings)

    def start_agent(self, agent: str, code: Path | None, state: str = "state", **settings: object) -> WorkerProcess:
        """The same with another agent, found in the folder `code`; one in capitals is a variable of the agent's own."""
        environment = {
            **variables(self.kafka),
            "STREAM_STATE_DIR": str(self.folder / state),
            "STREAM_WEB__PORT": str(self.web_port),
            "STREAM_BILLING__IDLE_SECONDS": str(NEVER_S),
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "200",
            "STREAM_WORKER__CHUNK_LINGER_MS": "20",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
        }
        environment |= {variable(name): str(value) for name, value in settings.items()}
        worker = self.how(self.folder / f"worker-{len(self.workers)}.log", environment, agent, code)
        self.workers.append(worker)
        return worker

    def start_ready(self, state: str = "state", **settings: object) -> WorkerProcess:
        """The same, when it has taken its first partitions over."""
        worker = self.start(state, **settings)
        self.wait(lambda: worker.takeovers(), READY_S, worker)
        return worker

    def wait(self, condition: Callable[[], object], timeout_s: float = DRAIN_S, *needed: WorkerProcess) -> None:
        """Wait for a condition; fail at once, with the log's end, when a worker that is needed for it ends."""

        def holds() -> bool:
            met = bool(condition())
            for worker in needed:
                assert met or worker.runs, f"a worker ended with {worker.exit_code}:\n{worker.said()[-3000:]}"
            return met

        wait_until(holds, timeout_s)

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            worker.kill()

    # -- the log -------------------------------------------------------------------------------------------------

    def send(self, records: Iterable[Sent], topic: str = USAGE) -> int:
        """Write records in order and wait until the broker has them. Returns how many."""
        producer = usage_producer(self.kafka)
        count = 0
        for record in records:
            where = {} if record.partition is None else {"partition": record.partition}
            when = {} if record.record_ms is None else {"timestamp": record.record_ms}
            producer.produce(topic, record.value, record.key, **where, **when)
            count += 1
            producer.poll(0)
        assert producer.flush(60) == 0, "the broker did not take everything"
        return count

    @contextmanager
    def load(self, seed: int, rate: int = 3000) -> Iterator[Feed]:
        """Usage of the last hours, sent while the block runs, in `make test` at a tenth of the rate; at its end
        everything has reached the broker."""
        now_ms = wall_ms()
        spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, LOAD_EVENTS, teams=100, late=0.03, duplicates=0.05, seed=seed)
        feed = Feed(usage_producer(self.kafka), usage_stream(spec), rate if is_long() else rate // 10)
        feed.start()
        try:
            yield feed
        finally:
            feed.end()
        assert feed.failed == 0

    def start_over(self) -> None:
        """Forget everything that was made of the usage topic: bills, dead letters, the table and the group."""
        self.wait(lambda: self.admin.group(GROUP).state in ("Empty", "Dead"), READY_S)
        client = AdminClient(confluent_config(self.kafka))
        for future in client.delete_consumer_groups([GROUP]).values():
            future.result(timeout=30)
        made = ["billing_events", "dead_letter", CHANGELOG]
        for future in client.delete_topics(made).values():
            future.result(timeout=30)
        self.wait(lambda: not self.admin.topics() & {*made})
        self.admin = Admin(self.kafka)  # the old one remembers the epochs of topics that are gone
        apply(self.admin, TOPICS, 1)

    def ends(self) -> dict[int, int]:
        """The end of each partition of the usage topic."""
        ends = self.admin.end_offsets([(USAGE, number) for number in range(PARTITIONS)])
        return {number: end for (_, number), end in ends.items()}

    def committed(self) -> dict[int, int]:
        """What the group has committed of the usage topic."""
        offsets = self.admin.committed(GROUP)
        return {number: offset for (topic, number), offset in offsets.items() if topic == USAGE}

    def done(self) -> int:
        """How many records of the usage topic are committed."""
        return sum(self.committed().values())

    def work(self, records: int, *needed: WorkerProcess) -> None:
        """Wait until so many records are committed."""
        self.wait(lambda: self.done() >= records, DRAIN_S, *needed)

    def drain(self, *needed: WorkerProcess, timeout_s: float = DRAIN_S) -> None:
        """Wait until everything sent so far is committed."""
        ends = {number: end for number, end in self.ends().items() if end}
        self.wait(lambda: self.committed().items() >= ends.items(), timeout_s, *needed)

    def read(self, topic: str) -> list[Record]:
        """Every committed record of a topic, partition by partition."""
        await_markers(self.admin, topic)
        return sorted(read({**confluent_config(self.kafka), "fetch.wait.max.ms": 20}, topic))

    def bills(self) -> list[bytes]:
        """The committed statements, sorted."""
        return sorted(record.value or b"" for record in self.read("billing_events"))

    def letters(self) -> list[Letter]:
        """The committed dead letters, sorted by what they are about."""
        return sorted(_letter(record.value or b"") for record in self.read("dead_letter"))

    def verify(self, directory: Path | None = None) -> BillsReport:
        """The independent check of everything; fails the test unless it is clean."""
        settings = Settings(kafka=self.kafka, billing=BillingSettings(), directory=directory)
        report = check(settings, show_progress=False)
        assert report.ok, json.dumps(report.as_json(), indent=1)[:4000]
        return report

    def group_tool(self, *arguments: str) -> None:
        """Kafka's own tool for consumer groups, on our group."""
        done = self.broker.tool(GROUP_TOOL, "--group", GROUP, *arguments)
        assert done.returncode == 0, done
        assert "Error" not in done.stdout, done.stdout


class Feed(threading.Thread):
    """Sends records at a steady rate until it is told to end."""

    def __init__(self, producer: Producer, records: Iterable[SimulatedRecord], rate: int) -> None:
        super().__init__(daemon=True)
        self.sent = self.failed = 0
        self._producer, self._records, self.rate = producer, iter(records), rate
        self._over = threading.Event()

    def run(self) -> None:
        began_s = monotonic_s()
        while not self._over.wait(0.02):
            due = int(self.rate * (monotonic_s() - began_s))
            for record in islice(self._records, max(0, min(due - self.sent, self.rate))):
                self._send(record)
                self.sent += 1
            self._producer.poll(0)

    def _send(self, record: SimulatedRecord) -> None:
        """While the producer's queue is full, because the broker takes nothing, nothing more is sent."""
        while True:
            try:
                self._producer.produce(USAGE, record.value, record.key, on_delivery=self._told)
                return
            except BufferError:
                self._producer.poll(0.1)

    def end(self) -> None:
        """Send no more, and wait for what is under way."""
        self._over.set()
        self.join()
        self.failed += self._producer.flush(60)

    def _told(self, error: KafkaError | None, message: Message) -> None:
        self.failed += error is not None


@contextmanager
def cluster(
    broker: Broker, folder: Path, kafka: KafkaSettings | None = None, how: Callable[..., WorkerProcess] = forked.worker
) -> Iterator[Cluster]:
    """A cluster whose workers end with the block. `how`: makes a worker."""
    made = Cluster(broker, folder, kafka, how)
    try:
        yield made
    finally:
        made.end()


def refused_to_start(worker: WorkerProcess, *words: str) -> None:
    """The worker ended as misconfigured, and its last words contain these."""
    wait_until(lambda: not worker.runs, READY_S)
    last = worker.said()[-3000:]
    assert worker.exit_code == 78, last
    for word in words:
        assert word in last, (word, last)


def bodies(bills: Sequence[bytes]) -> list[dict[str, Any]]:
    """Statements as objects."""
    return [json.loads(bill) for bill in bills]


def counted(bills: Sequence[bytes]) -> Mapping[tuple[str, str, str], tuple[int, int]]:
    """(team, period start, currency) → newest revision and its requests."""
    newest: dict[tuple[str, str, str], tuple[int, int]] = {}
    for data in (body["data"] for body in bodies(bills)):
        name = (data["team_id"], data["period_start"], data["currency"])
        newest[name] = max(newest.get(name, (-1, 0)), (data["revision"], data["totals"]["requests"]))
    return newest


def usage_producer(kafka: KafkaSettings) -> Producer:
    return Producer(
        {
            **confluent_config(kafka),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": 4 << 20,
            "compression.type": "lz4",
            "delivery.timeout.ms": 60_000,
            "reconnect.backoff.max.ms": 500,
        }
    )


def _letter(value: bytes) -> Letter:
    data = json.loads(value)["data"]
    assert data["source_topic"] == USAGE
    assert data["group"] == GROUP
    return Letter(
        data["source_partition"],
        data["source_offset"],
        data["reason"],
        None if data["key_b64"] is None else b64decode(data["key_b64"], validate=True),
        None if data["value_b64"] is None else b64decode(data["value_b64"], validate=True),
    )
