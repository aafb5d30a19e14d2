"""Who owns a partition, and how fast it goes from one worker to the next."""

from __future__ import annotations

from pathlib import Path

from workers import PARTITIONS, cluster

from streamapp.kafka.broker import Broker
from streamapp.kafka.child import free_port

TAKEOVER_S_MAX = 5.0  # 0.1 to 0.5 s on an idle machine; most of a takeover under load is waiting for a processor


def test_a_worker_that_comes_back_at_another_address_works_on(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        stack.start_ready().kill()
        worker = stack.start_ready(web__port=free_port())  # within the session of the killed one
        assert worker.takeovers()[-1][0] == list(range(PARTITIONS))


def test_workers_with_state_folders_of_their_own_share_the_partitions(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        workers = [stack.start_ready("one"), stack.start_ready("two")]
        stack.wait(lambda: all(len(worker.takeovers()[-1][0]) == PARTITIONS // 2 for worker in workers), 30, *workers)
        owned = [number for worker in workers for number in worker.takeovers()[-1][0]]
        assert sorted(owned) == list(range(PARTITIONS))
