"""The checks while everything runs: no difference where there is none, and each that is planted."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from confluent_kafka import Producer
from workers import Cluster, cluster

from streamapp.cli.verify import Verdict, verify
from streamapp.kafka.broker import Broker
from streamapp.settings import Settings

PAIRS = ("usage=bills", "bills=ledger")
LEDGER = "streamapp.agents.billing_ledger"


def differences(verdict: Verdict) -> list[int | None]:
    return [None if one.report is None else one.report.difference for one in verdict.outcomes]


def clean(settings: Settings) -> Verdict:
    """Verify everything and expect no difference."""
    verdict = verify(settings, show_progress=False, names=PAIRS)
    assert verdict.ok, json.dumps(verdict.as_json(), indent=1)[:4000]
    return verdict


def plant(stack: Cluster, ledger: Path) -> None:
    """A row of the ledger goes, and another bill is stated twice."""
    bill, *_ = stack.read("billing_events")
    producer = Producer({"bootstrap.servers": stack.broker.bootstrap})
    producer.produce(bill.topic, bill.value, bill.key, bill.partition)
    assert producer.flush(30) == 0
    with closing(sqlite3.connect(ledger, timeout=10)) as connection, connection:
        where = "record_offset = (SELECT max(record_offset) FROM bills WHERE partition = 1) AND partition = 1"
        assert connection.execute(f"DELETE FROM bills WHERE {where}").rowcount == 1


def test_nothing_differs_while_everything_runs_and_what_is_planted_does(fresh_broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with cluster(fresh_broker, tmp_path) as stack:
        settings = Settings(kafka=stack.kafka, ledger_url=f"sqlite:///{file}")
        with stack.load(seed=5, rate=250) as feed:
            first, second = stack.start(), stack.start()
            kept = stack.start_agent(LEDGER, None, ledger_url=settings.ledger)
            stack.wait(lambda: stack.done() > 500 and stack.admin.committed("billing-ledger"), 60, first, second, kept)
            read = []
            for number in range(3):
                if number == 1:
                    first.kill()  # perhaps with a transaction open
                bills = clean(settings).bills
                assert bills is not None
                read.append(bills.events_read)
                stack.work(stack.done() + 200, second, kept)
            assert feed.sent > read[-1] > read[0] > 0, "usage did not flow meanwhile"
        plant(stack, file)
        found = verify(settings, show_progress=False, names=PAIRS)
        assert differences(found) == [1, 1], found.as_json()
