"""`streamapp stop`, `start` and `scale` against what a run does with them: real files, a real lock, tiny processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli.local.scale import scale, start, stop
from streamapp.local.jobs import registered_workers
from streamapp.local.state import is_in_use, take_lock
from streamapp.local.wanted import Follower, Wanted, worker_names
from streamapp.processes.supervisor import Job, Supervisor
from streamapp.settings import current

FOREVER = (sys.executable, "-Sc", "import threading; threading.Event().wait()")
GROUPS = ("billing-agg", "billing-ledger")


def jobs(counts: Mapping[str, int]) -> tuple[Job, ...]:
    return tuple(Job(name, FOREVER, 1) for group, count in counts.items() for name in worker_names(group, count))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STREAM_STATE_DIR", str(tmp_path))
    current.cache_clear()
    yield tmp_path
    current.cache_clear()


@pytest.fixture
def running(state: Path) -> Iterator[Supervisor]:
    """A run of two groups that follows what is wanted."""
    lock, wanted, over = take_lock(state), Wanted(state), threading.Event()
    wanted.begin(registered_workers(GROUPS))
    supervisor = Supervisor(jobs(registered_workers(GROUPS)), state / "logs")
    follower = Follower(wanted, supervisor, jobs)

    def follow() -> None:
        while not over.wait(0.02):
            follower.follow()

    supervisor.start()
    thread = threading.Thread(target=follow)
    thread.start()
    yield supervisor
    over.set()
    thread.join()
    supervisor.stop()
    wanted.end()
    os.close(lock)


def test_a_group_is_stopped_scaled_and_started_again(running: Supervisor, until: Callable[..., None]) -> None:
    called: Callable[..., Result] = CliRunner().invoke
    told = called(stop, ["billing-agg"])
    assert (told.exit_code, running.running) == (0, ("billing-ledger",)), told
    assert "billing-agg is stopped: its records wait. Go on with: streamapp start billing-agg" in told.stdout
    assert called(scale, ["billing-ledger", "3"]).exit_code == 0
    assert set(running.running) == {"billing-ledger", "billing-ledger-2", "billing-ledger-3"}
    assert running.tick(0) == [], "what was stopped as asked has not crashed"
    told = called(start, ["billing-agg"])
    assert [line.partition(" (")[0] for line in told.stdout.splitlines()] == [
        "billing-agg-1 runs",
        "billing-agg-2 runs",
    ]
    assert called(scale, ["billing-ledger", "1"]).exit_code == 0
    assert set(running.running) == {"billing-agg-1", "billing-agg-2", "billing-ledger"}
    told = called(scale, ["billing-ledger", "5"])
    assert "billing-ledger reads 4 partitions, each by one worker: more workers only wait" in told.stdout
    assert called(scale, ["billing-ledger", "1"]).exit_code == 0
    assert called(scale, ["billing-agg", "10"]).exit_code == 2, "a host has no ports for more"
    assert "was started with --only" in str(called(stop, ["llm-metrics"]).exception)


def test_without_a_run_there_is_nothing_to_scale(state: Path) -> None:
    refused = CliRunner().invoke(stop, ["billing-agg"])
    assert f"no `streamapp run` uses {state}: start one (`make run`)" in str(refused.exception)
    descriptor = take_lock(state)
    assert is_in_use(state)
    os.close(descriptor)
    assert not is_in_use(state), "looking takes nothing"
