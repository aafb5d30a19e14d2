"""When little comes, Kafka gathers it: a chunk is a transaction, and few records must not cost as many transactions."""

from __future__ import annotations

from pathlib import Path

import pytest
from usage_log import value
from workers import CHANGELOG, Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s, wall_ms
from streamapp.settings import WorkerSettings
from streamapp.store.position import POSITION_KEY

SENDS = 40
WAIT_S = 3


def transactions(stack: Cluster) -> int:
    """Each writes where its partition is."""
    return sum(record.key == POSITION_KEY for record in stack.read(CHANGELOG))


@pytest.mark.long
def test_events_that_come_one_by_one_share_transactions(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(worker__fetch_wait_ms=WAIT_S * 1000)
        began_s, at_ms = monotonic_s(), wall_ms() - 60_000
        for number in range(SENDS):
            stack.send([Sent(b"team_a", value(f"event-{number}", at_ms, "team_a"))])
        stack.drain(worker)
        fetches = 1 + (monotonic_s() - began_s) / WAIT_S
        assert 1 <= transactions(stack) <= min(2 * fetches, SENDS / 2)


def test_nothing_waits_longer_than_a_second_for_its_transaction() -> None:
    worker = WorkerSettings()
    assert worker.chunk_linger_ms <= worker.fetch_wait_ms <= 900, "Kafka gathers; the rest is for the transaction"
