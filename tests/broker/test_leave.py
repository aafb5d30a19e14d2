"""A worker that stops is not waited for; one that is told to keep its place keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
from workers import PARTITIONS, Cluster, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess

ALL = list(range(PARTITIONS))
LONG_S = 30  # a session that nobody sits out here
SOON_S = 15.0  # a heartbeat (a fifth of the session), a takeover, and time on a busy machine


def two(stack: Cluster, **settings: object) -> tuple[WorkerProcess, WorkerProcess]:
    """Two workers with half of the partitions each."""
    first = stack.start_ready("one", **settings)
    second = stack.start_ready("two", **settings)
    shared(stack, first, second)
    return first, second


def shared(stack: Cluster, *workers: WorkerProcess) -> None:
    """Wait until each has half."""
    stack.wait(lambda: all(len(worker.takeovers()[-1][0]) == PARTITIONS // 2 for worker in workers), LONG_S, *workers)


def test_a_worker_that_stops_leaves_its_partitions_at_once(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack, stack.load(seed=6, rate=500):
        first, second = two(stack, worker__session_timeout_seconds=LONG_S)
        assert second.stop() == 0
        assert "left the group" in second.said()
        stack.wait(lambda: first.takeovers()[-1][0] == ALL, SOON_S, first)
        again = stack.start_ready("two", worker__session_timeout_seconds=LONG_S)
        shared(stack, first, again)


def test_a_worker_that_keeps_its_place_comes_back_without_a_rebalance(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        settings = {"worker__session_timeout_seconds": LONG_S, "worker__leave_on_stop": "false"}
        first, second = two(stack, **settings)
        before = first.takeovers()
        assert second.stop() == 0
        again = stack.start_ready("two", **settings)
        assert again.takeovers()[-1][0] == second.takeovers()[-1][0]
        assert first.takeovers() == before


@pytest.mark.long
def test_a_worker_that_is_stopped_during_a_rebalance_ends_well(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack, stack.load(seed=7, rate=2000):
        first = stack.start_ready("one")
        second = stack.start("two")  # its coming is the rebalance
        stack.wait(lambda: "Revoking previously assigned partitions" in first.said().partition("took over")[2], LONG_S)
        assert first.stop() == 0, first.said()[-3000:]
        stack.wait(lambda: second.takeovers() and second.takeovers()[-1][0] == ALL, LONG_S, second)
