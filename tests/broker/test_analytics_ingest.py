"""analytics-ingest as people run it, on ClickHouse's engine: every event is a row, once, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from ingests import Ingest

from streamapp.kafka.broker import Broker

PLANTED = Path(__file__).parent / "planted"


@pytest.fixture
def stack(fresh_broker: Broker, tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(fresh_broker, tmp_path)
    yield made
    made.end()


def test_kill_9_and_a_second_worker(stack: Ingest) -> None:
    stack.send(3000)
    first = stack.worker()
    wait_until(lambda: stack.done() > 300, 60)
    first.kill()
    again, second = stack.worker(), stack.worker()
    wait_until(lambda: stack.done() > 1500, 60)
    second.kill()
    stack.send(500)
    stack.drain(again)
    stack.whole()


def test_clickhouse_goes_away_and_comes_back(stack: Ingest) -> None:
    stack.send(1000)
    worker = stack.worker()
    wait_until(lambda: stack.done() > 100, 60)
    stack.stop_engine()
    stack.send(1000)
    wait_until(lambda: "stands still" in worker.said(), 60)
    stack.start_engine()
    stack.drain(worker)
    stack.whole()


def test_a_worker_ends_between_the_insert_and_its_commit(stack: Ingest) -> None:
    stack.send(1500)
    ending = stack.worker("ending_ingest", PLANTED)
    wait_until(lambda: not ending.runs, 60)
    assert ending.exit_code == 9, ending.said()[-2000:]
    kept = len(stack.rows())
    assert kept > stack.done() - 1500 // 7
    stack.drain(stack.worker())
    stack.whole()
