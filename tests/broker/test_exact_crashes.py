"""Workers killed in the middle of their work: the bills of an undisturbed run, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workers import Cluster, Letter, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

EVENTS = 15_000
KILLS = ("its rows are kept", "its rows are lost") * 2


@pytest.mark.long
def test_kill_9_changes_no_byte(ready_broker: Broker, tmp_path: Path) -> None:
    now_ms = wall_ms()
    spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, EVENTS, teams=60, late=0.05, duplicates=0.05, bad=0.02)
    with cluster(ready_broker, tmp_path, how=WorkerProcess) as stack:  # their hashes have other seeds
        stack.send(Sent(record.key, record.value) for record in usage_stream(spec))
        disturbed = killed_again_and_again(stack)
        stack.start_over()
        worker = stack.start("undisturbed", worker__chunk_records=2000)
        stack.drain(worker)
        plain = stack.bills(), stack.letters()
        assert len(plain[0]) > 1000
        assert disturbed == plain
        stack.verify()


def killed_again_and_again(stack: Cluster) -> tuple[list[bytes], list[Letter]]:
    """The bills and dead letters of a run whose worker is killed each time a few thousand records are done."""
    for number, what in enumerate(KILLS, 1):
        worker = stack.start("disturbed", worker__chunk_records=50)
        stack.work(EVENTS * number // (len(KILLS) + 2), worker)
        worker.kill()
        assert stack.done() < EVENTS, "it was killed in the middle"
        if what == "its rows are lost":
            shutil.rmtree(stack.folder / "disturbed")
    worker = stack.start("disturbed")
    stack.drain(worker)
    worker.kill()
    return stack.bills(), stack.letters()
