"""The broker dies, or is away for a while; files of a worker are broken: nothing is lost, and no restart loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until
from searches import is_long, of
from workers import DRAIN_S, Cluster, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s

OUTAGE_S = 6 if is_long() else 2
RESTARTS_MAX = 2  # of the worker, for each outage: one that finds out, one that came up too early


class Kept:
    """A worker that is started again whenever it ends, as a supervisor does. Kept up by looking at it."""

    def __init__(self, stack: Cluster, **settings: object) -> None:
        self.exit_codes: list[int | None] = []
        self._stack, self._settings = stack, settings
        self.worker = stack.start("state", **settings)

    def wait(self, condition: Callable[[], object], timeout_s: float = DRAIN_S) -> None:
        """Wait for a condition, and start the worker again as often as it ends meanwhile."""

        def holds() -> bool:
            if not self.worker.runs:
                self.exit_codes.append(self.worker.exit_code)
                self.worker = self._stack.start("state", **self._settings)
            return bool(condition())

        wait_until(holds, timeout_s)

    def work(self, records: int) -> None:
        """Wait until so many records are committed."""
        self.wait(lambda: self._stack.done() >= records)

    def pass_time(self, seconds: float) -> None:
        """Let real time pass: an outage has a length."""
        end_s = monotonic_s() + seconds
        self.wait(lambda: monotonic_s() >= end_s, seconds + 1)

    def drain(self) -> None:
        """Wait until everything sent so far is committed."""
        ends = {number: end for number, end in self._stack.ends().items() if end}
        self.wait(lambda: self._stack.committed().items() >= ends.items())


@pytest.mark.long
def test_a_broker_that_crashes_under_load_loses_nothing(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=11, rate=2000):
            kept = Kept(stack, kafka__delivery_timeout_seconds=10)
            for _ in range(3):
                kept.work(stack.done() + 1000)
                ready_broker.kill()
                ready_broker.start()
        kept.drain()
        assert len(kept.exit_codes) <= 3 * RESTARTS_MAX, kept.exit_codes
        assert 0 not in kept.exit_codes
        stack.verify()


def test_an_outage_shorter_than_the_delivery_timeout_is_survived(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=12, rate=2000):
            kept = Kept(stack, kafka__delivery_timeout_seconds=12)
            kept.work(of(2000))
            ready_broker.kill()
            kept.pass_time(OUTAGE_S)
            ready_broker.start()
        kept.drain()
        assert len(kept.exit_codes) <= RESTARTS_MAX, kept.exit_codes
        stack.verify()


@pytest.mark.long
def test_a_longer_outage_stops_the_worker_and_it_resumes(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=13, rate=2000):
            worker = stack.start_ready(kafka__delivery_timeout_seconds=5)
            stack.work(of(2000), worker)
            ready_broker.kill()
            away_s = monotonic_s()
            stack.wait(lambda: not worker.runs, 30)
            assert worker.exit_code not in (0, None)
            assert monotonic_s() - away_s < 20, "it does not wait much longer than it was told to"
            assert "CRITICAL" in worker.said()
            assert worker.said().count("Unable connect to node") < 100, "it says so now and then, not each time"
            ready_broker.start()
            kept = Kept(stack)  # with the usual patience: Kafka is there, if only just
            kept.work(stack.done() + 1)
        kept.drain()
        assert kept.exit_codes == []
        stack.verify()


def test_broken_files_are_read_again_from_the_changelog(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=14):
            worker = stack.start_ready()
            stack.work(of(3000), worker)
            worker.kill()
            tables = sorted((tmp_path / "state").glob("billing-agg/worker-0/usage_hourly-*"))
            assert len(tables) == 8
            for table, pattern in zip(tables, ("CURRENT", "MANIFEST-*", "*.log", "OPTIONS-*"), strict=False):
                for file in table.glob(pattern):
                    file.write_bytes(b"\\x00rubbish" * 100)
            worker = stack.start_ready()
            stack.work(of(8000), worker)
        stack.drain(worker)
        assert "are read again from the changelog" in worker.said()
        stack.verify()
