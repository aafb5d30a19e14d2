"""Services that read bills are killed by SIGKILL at random moments, and end with the ledger's rows all the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from kept_bills import billed, ledger_of

from streamapp.broker.broker import Broker
from streamapp.kafka.bills.event import Bucket
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for

SERVICE = Path(__file__).with_name("bills_service.py")
PARTITIONS, KILLS = 2, 4
ALWAYS = "\n" * 10_000


@pytest.mark.parametrize("form", ["position", "group"])
def test_a_service_that_is_killed_ends_with_the_ledgers_rows(
    form: str, broker: Broker, make_topic: Callable[..., str], until: Callable[..., None], tmp_path: Path
) -> None:
    topic, bills, path = make_topic("bills", PARTITIONS), billed(), tmp_path / "service.db"
    with TransactedProducer(KafkaSettings(bootstrap_servers=broker.bootstrap), f"{topic}-writer") as out:
        for begin in range(0, len(bills), 5):
            some = bills[begin : begin + 5]
            out.commit([Outgoing(topic, partition_for(key, PARTITIONS), key, value) for key, value in some])
    command = [sys.executable, str(SERVICE), form, broker.bootstrap, topic, str(path)]
    rng = Random(form)
    for _ in range(KILLS):
        allowed = rng.randrange(4, 14)
        service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert service.stdin is not None
        assert service.stdout is not None
        with service:
            service.stdin.write("\n" * allowed)
            service.stdin.flush()
            for _ in range(rng.randrange(1, allowed)):  # it goes on with the others meanwhile
                assert service.stdout.readline() == "kept\n"
            service.kill()
    ledger, _ = ledger_of(value for _, value in bills)
    assert kept(path)[0] != ledger
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as service:
        assert service.stdin is not None
        service.stdin.write(ALWAYS)
        service.stdin.flush()
        try:
            until(lambda: service.poll() is not None or kept(path) == (ledger, ledger), timeout_s=120)
        finally:
            service.kill()
    assert kept(path) == (ledger, ledger)


def kept(path: Path) -> tuple[dict[Bucket, Decimal], dict[Bucket, Decimal]]:
    """By the highest revision, and by differences."""
    with closing(sqlite3.connect(path)) as database:
        rows = [
            (Bucket(*literal_eval(name)), *costs)
            for name, *costs in database.execute("select bucket, total, sum from bills")
        ]
    return {name: Decimal(total) for name, total, _ in rows}, {name: Decimal(sum_) for name, _, sum_ in rows}
