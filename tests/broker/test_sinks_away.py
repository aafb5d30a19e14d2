"""Every sink outside of Kafka is away for a minute while events keep coming: nothing is lost, nothing is there twice.

One minute for all of them side by side: the S3 server of audit-archive, ClickHouse's engine behind analytics-ingest,
and the PostgreSQL that billing-ledger keeps rpc-billing's settlements in. It is longer than anybody waits for an
answer, longer than the longest pause between two questions, and longer than a transaction may stay open.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from archives import Trail, assert_each_once
from confluent_kafka import Producer
from conftest import wait_until
from ingests import Ingest
from real_postgres import Postgres, postgres_server
from real_s3 import S3
from rpc_log import value
from workers import NEVER_S, Cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import monotonic_s, wall_ms
from streamapp.processes.supervisor import Job, Supervisor
from streamapp.settings import Settings
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Settlement
from streamapp.verify.bills import metering_settlements
from streamapp.verify.bills.ledgers import SETTLED
from streamapp.verify.copies import audit_archive

KEEPER = "streamapp.agents.billing_ledger"
AWAY_S = 62.0
PACE_S = 0.5
EACH_TIME = 20  # audit records and captured events
AGENTS = 12
HOUR_MS = 3_600_000
BEGIN_MS = (wall_ms() // HOUR_MS - 160) * HOUR_MS  # each time an hour more; calls older than a week do not count


class Settlements:
    """Metered calls, the worker that settles them, and billing-ledger, which is started again whenever it ends."""

    def __init__(self, broker: Broker, folder: Path, url: str) -> None:
        self.stack = Cluster(broker, folder)
        self.settings = Settings(kafka=self.stack.kafka, ledger_url=url)
        self.hours = 0
        self.ends: list[str] = []
        self._producer = Producer(
            {"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random", "log_level": 0}
        )
        never = {"settlement__idle_seconds": NEVER_S}
        self.settler = self.stack.start_agent("streamapp.agents.rpc_billing", None, "settler", **never)
        agent = ("-m", "faust", "-A", KEEPER, "worker", "-l", "info")
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "STREAM_STATE_DIR": str(folder / "keeper"),
            "STREAM_LEDGER_URL": url,
            "STREAM_WEB__PORT": "0",
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
        }
        self._log = folder / "logs" / "ledger.log"
        self._supervisor = Supervisor(
            [Job("ledger", (sys.executable, *agent), 1, environment=tuple(environment.items()))], folder / "logs"
        )
        self._supervisor.start()

    def send(self) -> None:
        """One call of each agent in the next hour, at a price that is settled when the hour closes."""
        at_ms = BEGIN_MS + self.hours * HOUR_MS + HOUR_MS // 2
        for number in range(AGENTS):
            name = f"agent_{number}"
            call = value(f"call_{self.hours}_{number}", at_ms, name, price="0.25")
            self._producer.produce("agent_rpc_metering", call, name.encode())
        assert self._producer.flush(60) == 0
        self.hours += 1

    @property
    def due(self) -> int:
        """How many settlements there must be: the last hour is open."""
        return (self.hours - 1) * AGENTS

    def look(self) -> None:
        """Start the keeper again where it has ended; nobody else may have."""
        assert self.settler.runs, self.settler.said()[-3000:]
        self.ends += [news.text for news in self._supervisor.tick(monotonic_s()) if "ended with" in news.text]

    def stands_still(self) -> bool:
        """Whether the keeper has found its database away."""
        return "stands still" in self._log.read_text()

    def second(self) -> WorkerProcess:
        """A second keeper. Both take partitions over, and must ask the database where it is."""
        return self.stack.start_agent(KEEPER, None, "second", ledger_url=self.settings.ledger_url)

    def done(self) -> int:
        return sum(self.stack.admin.committed("billing-ledger").values())

    def kept(self) -> list[Settlement]:
        async def ask() -> list[Settlement]:
            async with open_ledger(self.settings.ledger) as ledger:
                return await ledger.settlements(limit=100_000)

        return asyncio.run(ask())

    def end(self) -> None:
        self._supervisor.stop()
        self.stack.end()


class Feed(threading.Thread):
    """Sends a little of everything, twice a second, until it is told to end."""

    def __init__(self, *sends: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.whole = False
        self._sends, self._over = sends, threading.Event()

    def run(self) -> None:
        while not self._over.wait(PACE_S):
            for send in self._sends:
                send()
        self.whole = True

    def end(self) -> None:
        self._over.set()
        self.join()
        assert self.whole, "it failed on its way"


class Everything(NamedTuple):
    """Three ways out of Kafka, and what each of them ends in."""

    trail: Trail
    s3: S3
    ingest: Ingest
    settlements: Settlements
    postgres: Postgres

    def done(self) -> tuple[int, int, int]:
        """How many records each way has brought to its end."""
        return self.trail.done(), self.ingest.done(), self.settlements.done()

    def wait(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        def holds() -> bool:
            self.settlements.look()
            return condition()

        wait_until(holds, timeout_s)


@pytest.fixture
def everything(ready_broker: Broker, tmp_path: Path, cache_dir: Path) -> Iterator[Everything]:
    with ExitStack() as ending:
        for name in ("s3", "trail", "ingest", "settlements"):
            (tmp_path / name).mkdir()
        s3 = S3(tmp_path / "s3")
        s3.start()
        ending.callback(s3.stop)
        postgres = ending.enter_context(postgres_server(cache_dir / "postgres.lock"))
        trail = Trail(ready_broker, tmp_path / "trail", s3.settings())
        ending.callback(trail.end)
        ingest = Ingest(ready_broker, tmp_path / "ingest")
        ending.callback(ingest.end)
        settlements = Settlements(ready_broker, tmp_path / "settlements", postgres.url)
        ending.callback(settlements.end)
        yield Everything(trail, s3, ingest, settlements, postgres)


@pytest.mark.long
def test_a_minute_without_any_sink(everything: Everything) -> None:
    trail, s3, ingest, settlements, postgres = everything
    workers = [trail.start(), ingest.worker()]
    feed = Feed(
        lambda: trail.send(range(trail.sent, trail.sent + EACH_TIME)), lambda: ingest.send(EACH_TIME), settlements.send
    )
    feed.start()
    everything.wait(lambda: min(everything.done()) > EACH_TIME)

    began_s = monotonic_s()
    s3.stop()
    ingest.stop_engine()
    postgres.stop()
    everything.wait(lambda: all("stands still" in worker.said() for worker in workers))
    everything.wait(settlements.stands_still)
    assert settlements.ends == [], "it waits as the others do"
    workers += [trail.start(state="second"), ingest.worker()]  # whoever takes partitions over finds no sink either
    everything.wait(lambda: all(worker.takeovers() for worker in workers))
    before, sent = everything.done(), trail.sent
    everything.wait(lambda: monotonic_s() - began_s >= AWAY_S, 2 * AWAY_S)
    assert everything.done() == before
    assert trail.sent - sent > 5 * EACH_TIME, "they kept coming"
    assert all(worker.runs for worker in workers), [worker.said()[-2000:] for worker in workers]
    keeper = settlements.second()
    everything.wait(keeper.exited.is_set)
    assert keeper.exit_code == 69, keeper.said()[-2000:]

    postgres.start()
    ingest.start_engine()
    s3.start()
    feed.end()
    everything.wait(lambda: trail.done() >= trail.sent and ingest.done() >= ingest.sent, 120)
    everything.wait(lambda: len(settlements.kept()) == settlements.due)
    assert_each_once(s3.bucket / "trail", range(trail.sent))
    assert audit_archive.PAIR.check(trail.settings).difference == 0
    ingest.whole()
    for report in (metering_settlements.PAIR.check(settlements.settings), SETTLED.check(settlements.settings)):
        assert report.difference == 0, report.as_json()
