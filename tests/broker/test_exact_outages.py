"""The broker dies, or is away for a while; files of a worker are broken: nothing is lost, and no restart loop."""

from __future__ import annotations

from pathlib import Path

from workers import Kept, cluster

from streamapp.clock import monotonic_s
from streamapp.kafka.broker import Broker

RESTARTS_MAX = 2  # of the worker, for each outage: one that finds out, one that came up too early


def test_a_broker_that_crashes_under_load_loses_nothing(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        with stack.load(seed=11, rate=2000):
            kept = Kept(stack, kafka__delivery_timeout_seconds=10)
            for _ in range(3):
                done = stack.done()
                kept.wait(lambda done=done: stack.done() > done + 1000)
                fresh_broker.kill()
                fresh_broker.start()
        kept.drain()
        assert len(kept.exit_codes) <= 3 * RESTARTS_MAX, kept.exit_codes
        assert 0 not in kept.exit_codes
        stack.verify()


def test_an_outage_shorter_than_the_delivery_timeout_is_survived(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        with stack.load(seed=12, rate=2000):
            kept = Kept(stack, kafka__delivery_timeout_seconds=12)
            kept.wait(lambda: stack.done() > 2000)
            fresh_broker.kill()
            kept.pass_time(6)
            fresh_broker.start()
        kept.drain()
        assert len(kept.exit_codes) <= RESTARTS_MAX, kept.exit_codes
        stack.verify()


def test_a_longer_outage_stops_the_worker_and_it_resumes(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        with stack.load(seed=13, rate=2000):
            worker = stack.start_ready(kafka__delivery_timeout_seconds=3)
            stack.wait(lambda: stack.done() > 2000, 30, worker)
            fresh_broker.kill()
            away_s = monotonic_s()
            stack.wait(lambda: not worker.runs, 30)
            assert worker.exit_code not in (0, None)
            assert monotonic_s() - away_s < 20, "it does not wait much longer than it was told to"
            assert "CRITICAL" in worker.said()
            fresh_broker.start()
            kept = Kept(stack, kafka__delivery_timeout_seconds=3)
            done = stack.done()
            kept.wait(lambda: stack.done() > done)
        kept.drain()
        assert kept.exit_codes == []
        stack.verify()


def test_broken_files_are_read_again_from_the_changelog(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        with stack.load(seed=14):
            worker = stack.start_ready()
            stack.wait(lambda: stack.done() > 3000, 30, worker)
            worker.kill()
            tables = sorted((tmp_path / "state").glob("billing-agg/worker-0/usage_hourly-*"))
            assert len(tables) == 8
            for table, pattern in zip(tables, ("CURRENT", "MANIFEST-*", "*.log", "OPTIONS-*"), strict=False):
                for file in table.glob(pattern):
                    file.write_bytes(b"\\x00rubbish" * 100)
            worker = stack.start_ready()
            stack.wait(lambda: stack.done() > 8000, 30, worker)
        stack.drain(worker)
        assert "are read again from the changelog" in worker.said()
        stack.verify()
