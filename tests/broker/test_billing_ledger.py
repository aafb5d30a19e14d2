"""billing-ledger as people run it: every bill in the database once, whatever happens to the worker."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from urllib.request import urlopen

import aiokafka
import forked
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from conftest import wait_until
from exported_month import by_sql, exported, january
from verify_logs import TEN, Logs

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.cli.checks.verify import verify
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.provision import apply
from streamapp.settings import KafkaSettings, Settings
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill
from streamapp.topics.registry import TOPICS

GROUP = "billing-ledger"
TOPIC = "billing_events"
AGENT = "streamapp.agents.billing_ledger"
PLANTED = Path(__file__).parent / "planted"
URLS = (pytest.param("sqlite", marks=pytest.mark.long), "postgresql")


class Stack:
    """A broker with bills on it, and workers that keep them."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        self.started = 0
        apply(self.admin, TOPICS, 1)

    def worker(self, url: str, agent: str = AGENT, code: Path | None = None, **settings: object) -> WorkerProcess:
        """A worker on a ledger. Small chunks: many chances to be hit between two writes."""
        self.started += 1
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "STREAM_STATE_DIR": str(self.folder / "state"),
            "STREAM_LEDGER_URL": url,
            "STREAM_WEB__PORT": "0",
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "20",
            "STREAM_WORKER__CHUNK_LINGER_MS": "5",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
        } | {f"STREAM_{name.upper()}": str(value) for name, value in settings.items()}
        log = self.folder / f"ledger-{self.started}.log"
        return forked.worker(log, environment, agent, code)

    def produce(self, records: list[Record]) -> None:
        """Put bills on the topic as they are."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True})
        for record in records:
            producer.produce(TOPIC, record.value, record.key, record.partition)
        assert producer.flush(30) == 0

    def done(self) -> int:
        """How far the group is, over all partitions."""
        return sum(self.admin.committed(GROUP).values())

    def end(self) -> int:
        """How far it has to go."""
        return sum(self.admin.end_offsets([(TOPIC, number) for number in range(4)]).values())

    def wait(self, condition: Callable[[], bool], worker: WorkerProcess) -> None:
        def holds() -> bool:
            assert worker.runs, worker.said()[-3000:]
            return condition()

        wait_until(holds, 60)

    def values(self) -> list[str]:
        """Every bill on the topic."""
        found = read({"bootstrap.servers": self.broker.bootstrap}, TOPIC)
        return sorted((record.value or b"").decode() for record in found)


def kept(url: str) -> list[Bill]:
    """What the ledger holds."""

    async def ask() -> list[Bill]:
        async with open_ledger(url) as ledger:
            return await ledger.bills(limit=100_000)

    return asyncio.run(ask())


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


def bills(teams: int) -> list[Record]:
    """Bills of one hour, spread over the partitions."""
    logs = Logs()
    made = []
    for number in range(teams):
        team, org = f"team_{number}", f"org_{number % 7}"
        logs.use(TEN + number, team=team, org=org)
        made.append(logs.state(TEN, team=team, org=org)._replace(partition=number % 4))
    return made


def test_every_bill_is_kept_once_although_the_worker_is_killed(ready_broker: Broker, tmp_path: Path, url: str) -> None:
    stack = Stack(ready_broker, tmp_path)
    stack.produce(bills(1200))
    for share in (0.2, 0.5, 0.8):
        worker = stack.worker(url)
        enough = int(stack.end() * share)
        stack.wait(lambda enough=enough: stack.done() >= enough, worker)  # type: ignore[misc]
        worker.kill()
    worker = stack.worker(url)
    stack.wait(lambda: stack.done() >= 1200 and "Worker ready" in worker.said(), worker)
    assert worker.stop() == 0
    assert sorted(bill.event for bill in kept(url)) == stack.values()


@pytest.mark.long
def test_one_ends_between_database_and_kafka_and_two_go_on(ready_broker: Broker, tmp_path: Path, url: str) -> None:
    stack, every = Stack(ready_broker, tmp_path), bills(1300)
    stack.produce(every[:1000])
    ending = stack.worker(url, "ending_ledger", PLANTED)
    wait_until(ending.exited.is_set, 60)
    assert ending.exit_code == 9, ending.said()[-3000:]
    assert len(kept(url)) > stack.done(), "its last chunk is in the database and not committed"
    first = stack.worker(url)
    stack.wait(lambda: bool(first.takeovers()), first)
    second = stack.worker(url)
    stack.produce(every[1000:1150])
    stack.wait(lambda: bool(second.takeovers()), second)
    stack.produce(every[1150:])
    stack.wait(lambda: len(kept(url)) == 1300 and stack.done() >= 1300, first)
    assert sorted(bill.event for bill in kept(url)) == stack.values()
    assert (first.stop(), second.stop()) == (0, 0)


@pytest.mark.long
def test_an_empty_ledger_is_filled_from_the_beginning(ready_broker: Broker, tmp_path: Path, url: str) -> None:
    stack = Stack(ready_broker, tmp_path)
    stack.produce(bills(50))
    worker = stack.worker(f"sqlite:///{tmp_path / 'first.db'}")
    stack.wait(lambda: stack.done() >= 50, worker)
    worker.stop()
    worker = stack.worker(url)  # another database, the same group
    stack.wait(lambda: "its destination at 0: going there" in worker.said(), worker)
    stack.wait(lambda: stack.done() >= 50 and len(kept(url)) == 50, worker)
    worker.stop()


@pytest.mark.long
def test_a_flood_of_what_is_no_bill_stops_the_worker_until_a_person_acts(ready_broker: Broker, tmp_path: Path) -> None:
    stack, url = Stack(ready_broker, tmp_path), f"sqlite:///{tmp_path / 'ledger.db'}"
    (good,) = bills(1)
    bad = good._replace(value=b"{not a bill")
    stack.produce([bad] * 4)
    worker = stack.worker(url, worker__poison_limit_consecutive=5)
    stack.wait(lambda: stack.done() == 4, worker)
    worker.stop()
    stack.produce([bad] * 4)
    for _ in range(2):  # a supervisor starts it again: it writes no dead letter more
        worker = stack.worker(url, worker__poison_limit_consecutive=5)
        wait_until(worker.exited.is_set, 60)
        assert worker.exit_code == 78, worker.said()[-3000:]
    assert "8 records in a row were refused" in worker.said()
    assert stack.done() == 4
    stack.produce([good])
    accepted = "2100-01-01T00:00:00Z"
    worker = stack.worker(url, worker__poison_limit_consecutive=5, worker__poison_accepted_until=accepted)
    stack.wait(lambda: stack.done() == 9 and len(kept(url)) == 1, worker)
    assert worker.stop() == 0


@pytest.mark.long
def test_what_is_no_bill_becomes_a_dead_letter(ready_broker: Broker, tmp_path: Path) -> None:
    stack = Stack(ready_broker, tmp_path)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    good = bills(3)
    stack.produce([*good[:2], good[2]._replace(value=b"{not a bill"), good[2]])
    worker = stack.worker(url)
    stack.wait(lambda: stack.done() >= stack.end() - 1, worker)
    stack.wait(lambda: len(kept(url)) == 3, worker)
    letters = list(read({"bootstrap.servers": ready_broker.bootstrap}, "dead_letter"))
    assert [b'"group":"billing-ledger"' in (letter.value or b"") for letter in letters] == [True]
    assert worker.stop() == 0


def test_a_worker_that_has_kept_everything_is_healthy_and_its_month_is_that_of_the_log(
    ready_broker: Broker, tmp_path: Path
) -> None:
    stack, logs, url = Stack(ready_broker, tmp_path), january(), f"sqlite:///{tmp_path / 'ledger.db'}"
    producer = Producer({"bootstrap.servers": ready_broker.bootstrap, "transactional.id": "bills", "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    for record in (*logs.usage, *logs.bills):
        producer.produce(record.topic, record.value, record.key, record.partition, timestamp=record.timestamp_ms)
    producer.commit_transaction(30)  # the end of each partition is a control record, which nobody reads
    worker = stack.worker(url)

    def health() -> dict[str, object]:
        page = re.search(r"web +\| (http://\S+)", worker.said())
        assert page
        with urlopen(f"{page[1]}/health", timeout=5) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    stack.wait(lambda: stack.done() >= 4 and "Worker ready" in worker.said(), worker)
    stack.wait(lambda: (health()["status"], health()["lag"]) == ("ok", 0), worker)
    assert worker.stop() == 0
    assert exported(url) == by_sql(tmp_path / "ledger.db") == verified(ready_broker, url)


def verified(broker: Broker, url: str) -> dict[str, Decimal]:
    """What `verify` counts as billed, by currency, once nothing differs."""
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    verdict = verify(Settings(kafka=kafka, ledger_url=url), show_progress=False, names=("usage=bills", "bills=ledger"))
    assert verdict.ok, verdict.as_json()
    assert verdict.bills is not None
    assert verdict.bills.money["billed"]["USD"] == Decimal("1000000000000000.000000000011")
    return dict(verdict.bills.money["billed"])


async def commit_noted(broker: Broker, partition: int, note: str) -> None:
    """Commit offset 0 with metadata, as an earlier release did."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    at = aiokafka.TopicPartition(TOPIC, partition)
    consumer.assign([at])
    await consumer.commit({at: (0, note)})
    await consumer.stop()


def test_what_an_earlier_release_noted_beside_the_offset_is_carried_over_and_stock_clients_read_the_offset(
    ready_broker: Broker, tmp_path: Path
) -> None:
    stack, url = Stack(ready_broker, tmp_path), f"sqlite:///{tmp_path / 'ledger.db'}"
    settings = {"bootstrap.servers": ready_broker.bootstrap, "group.id": GROUP, "log_level": 0}
    (good,) = bills(1)
    asyncio.run(commit_noted(ready_broker, good.partition, "[4,1700000000000,[[4,4]]]"))
    stack.produce([good._replace(value=b"{not a bill")] * 2)
    worker = stack.worker(url, worker__poison_limit_consecutive=5)
    wait_until(worker.exited.is_set, 60)
    assert worker.exit_code == 78, worker.said()[-3000:]
    assert "6 records in a row were refused" in worker.said()
    stock = Consumer(settings)
    (found,) = stock.committed([TopicPartition(TOPIC, good.partition)], timeout=10)
    stock.close()
    assert (found.offset, found.metadata) == (0, None)  # since the takeover, before any record
    client = AdminClient({"bootstrap.servers": ready_broker.bootstrap, "log_level": 0})
    groups = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)])
    assert {part.metadata for part in groups[GROUP].result(timeout=30).topic_partitions} == {None}
