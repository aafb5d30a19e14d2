"""Who owns a partition, and how fast it goes from one worker to the next."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from late_commits import left_late, unverified
from searches import of
from workers import CHANGELOG, GROUP, PARTITIONS, USAGE, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.kafka.admin import Admin, Unsettled
from streamapp.processes.child import free_port
from streamapp.topics.registry import transactional_ids

TAKEOVER_S_MAX = 5.0  # 0.1 to 0.5 s on an idle machine; most of a takeover under load is waiting for a processor


def test_a_worker_that_comes_back_at_another_address_works_on(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        stack.start_ready().kill()
        worker = stack.start_ready(web__port=free_port())  # within the session of the killed one
        assert worker.takeovers()[-1][0] == list(range(PARTITIONS))


def test_workers_with_state_folders_of_their_own_share_the_partitions(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        workers = [stack.start_ready("one"), stack.start_ready("two")]

        def shared() -> bool:  # one of them may be a rebalance ahead of the other
            owned = [worker.takeovers()[-1][0] for worker in workers]
            return {*map(len, owned)} == {PARTITIONS // 2} and {*chain(*owned)} == {*range(PARTITIONS)}

        stack.wait(shared, 30, *workers)


def test_an_offset_commit_that_never_settles_holds_nobody_up(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with unverified(stack.kafka):
            left_late(stack.kafka, GROUP, USAGE, 3, f"{transactional_ids(GROUP, USAGE)}3")
        patient = Admin(stack.kafka, timeout_s=2)
        assert patient.committed(GROUP, [(USAGE, 3)]) == {(USAGE, 3): 0}
        with pytest.raises(Unsettled, match=f"offsets of group {GROUP} are not settled"):
            patient.committed(GROUP, [(USAGE, 3)], settled=True)
        worker = stack.start_ready(kafka__delivery_timeout_seconds=5)
        assert "are not settled" in worker.said()
        stack.send([Sent(b"team_a", b"no event", 3)])
        stack.drain(worker)  # with a transaction of the same producer, whose end ends the other commit
        assert stack.admin.committed(GROUP, [(USAGE, 3)], settled=True) == {(USAGE, 3): 1}


@pytest.mark.long
def test_scaling_under_load_loses_and_doubles_nothing(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=3) as load:
            first = stack.start_ready()
            second = stack.start_ready()
            stack.wait(lambda: shares(first, second) == [4, 4], 30, first, second)
            four = (first, second, stack.start_ready(), stack.start_ready())
            stack.wait(lambda: shares(*four) == [2, 2, 2, 2], 30, *four)
            stack.wait(lambda: stack.done() > load.sent - 3000, 30, *four)
            for worker in four[1:3]:
                assert worker.stop() == 0
            four[3].kill()
            stack.wait(lambda: shares(first) == [PARTITIONS], 30, first)
        stack.drain(first)
        took = [seconds for worker in four for _, seconds in worker.takeovers()]
        assert len(took) >= 8
        assert max(took) < TAKEOVER_S_MAX, took
        stack.verify()


def shares(*workers: WorkerProcess) -> list[int]:
    """How many partitions each took over the last time."""
    return [len(worker.takeovers()[-1][0]) for worker in workers]


def test_a_frozen_owner_that_wakes_up_writes_nothing_and_ends(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=4):
            frozen = stack.start_ready("frozen", worker__session_timeout_seconds=2)
            stack.work(of(2000), frozen)
            frozen.freeze()
            other = stack.start_ready("other")
            stack.wait(lambda: other.takeovers()[-1][0] == list(range(PARTITIONS)), 30, other)
        stack.drain(other)
        before = [stack.read(topic) for topic in ("billing_events", "dead_letter", CHANGELOG)]
        frozen.thaw()
        stack.wait(lambda: not frozen.runs, 30, other)
        assert frozen.exit_code not in (0, None), frozen.said()[-2000:]
        assert [stack.read(topic) for topic in ("billing_events", "dead_letter", CHANGELOG)] == before
        with stack.load(seed=5, rate=1000):
            stack.work(stack.done() + 1, other)
        stack.drain(other)
        stack.verify()
