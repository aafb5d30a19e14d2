"""The checks while everything runs: no difference where there is none, and each that is planted."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer
from conftest import wait_until
from workers import Cluster, cluster

from streamapp.broker.broker import Broker
from streamapp.cli.checks.verify import Verdict, verify
from streamapp.processes.child import Child
from streamapp.settings import Settings
from streamapp.simulate.world import tenants

PAIRS = ("usage=bills", "bills=ledger")
SEED = 5
LEDGER = "streamapp.agents.billing_ledger"


@contextmanager
def job(settings: Settings, log: Path) -> Iterator[str]:
    """`streamapp reconcile` on a free port: its address. It must end well, whatever it is at."""
    environment = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "STREAM_LEDGER_URL": settings.ledger,
        "STREAM_RECONCILE__PORT": "0",
        "STREAM_RECONCILE__INTERVAL_SECONDS": "0.1",
    }
    command = [sys.executable, "-m", "streamapp", "reconcile"]
    child = Child("/usr/bin/env", [*(f"{name}={value}" for name, value in environment.items()), *command], log)
    listening = re.compile(r"listening on (\S+)/")
    try:
        wait_until(lambda: listening.search(log.read_text()), 60)
        found = listening.search(log.read_text())
        assert found is not None
        yield found[1]
    finally:
        child.end(signal.SIGTERM, 20)
    assert child._process.returncode == 0, log.read_text()[-3000:]


def differences(address: str) -> dict[str, int]:
    """Those of PAIRS that the job has checked."""
    with urlopen(f"{address}/reconciliation.json", timeout=10) as answer:
        pairs = json.load(answer)["pairs"]
    return {pair["name"]: pair["difference"] for pair in pairs if pair["name"] in PAIRS and "difference" in pair}


def clean(settings: Settings) -> Verdict:
    """Verify everything and expect no difference."""
    verdict = verify(settings, show_progress=False, names=(*PAIRS, "usage=crossings"))
    assert verdict.ok, json.dumps(verdict.as_json(), indent=1)[:4000]
    return verdict


def limited(path: Path) -> Path:
    """A directory in which every team of the load has limits that it comes to."""
    who = tenants(Random(SEED), 100, {})
    limits = 'budget_soft = { USD = "0.001" }\nbudget_hard = { USD = "0.05" }\n'
    path.write_text("".join(f'[teams.{team}]\norg = "{org}"\n{limits}' for team, org in who.teams))
    return path


def plant(stack: Cluster, ledger: Path) -> None:
    """A row of the ledger goes, and another bill is stated twice."""
    bill = next(record for record in stack.read("billing_events") if b"budget.crossed" not in (record.value or b""))
    producer = Producer({"bootstrap.servers": stack.broker.bootstrap})
    producer.produce(bill.topic, bill.value, bill.key, bill.partition)
    assert producer.flush(30) == 0
    with closing(sqlite3.connect(ledger, timeout=10)) as connection, connection:
        where = "record_offset = (SELECT max(record_offset) FROM bills WHERE partition = 1) AND partition = 1"
        assert connection.execute(f"DELETE FROM bills WHERE {where}").rowcount == 1


@pytest.mark.long
def test_nothing_differs_while_everything_runs_and_what_is_planted_does(ready_broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with cluster(ready_broker, tmp_path) as stack:
        directory = limited(tmp_path / "directory.toml")
        settings = Settings(kafka=stack.kafka, ledger_url=f"sqlite:///{file}", directory=directory)
        with stack.load(seed=SEED, rate=250) as feed:
            first, second = stack.start(directory=directory), stack.start(directory=directory)
            kept = stack.start_agent(LEDGER, None, ledger_url=settings.ledger)
            stack.wait(lambda: stack.done() > 500 and stack.admin.committed("billing-ledger"), 60, first, second, kept)
            read = []
            for number in range(3):
                if number == 1:
                    first.kill()  # perhaps with a transaction open
                bills = clean(settings).bills
                assert bills is not None
                read.append(bills.numbers["events_read"])
                stack.work(stack.done() + 200, second, kept)
            assert feed.sent > read[-1] > read[0] > 0, "usage did not flow meanwhile"
        crossed = [
            record.value for record in stack.read("billing_events") if b"budget.crossed" in (record.value or b"")
        ]
        assert len(crossed) > 20
        assert len(set(crossed)) == len(crossed)
        plant(stack, file)
        with job(settings, tmp_path / "reconcile.log") as address:
            stack.wait(lambda: len(differences(address)) == len(PAIRS), 120, kept)
            assert differences(address) == dict.fromkeys(PAIRS, 1)
