"""`streamapp repartition` on a real broker: nothing is lost or doubled, also when it is ended at any of its steps."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from workers import CHANGELOG, GROUP, USAGE, Cluster, Sent, cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.meters.registry import declared
from streamapp.replay.repartition import Moved, repartition
from streamapp.settings import Settings
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

EVENTS = 6000
ENDED_AT = (
    *("fold 3", "raise", "mark 9", "copy 4", "take back 5", "copied 7", "fold 0", "seal 0"),
    *("seal 5", "seal 11", "clear 0", "clear 4", "finish 0", "finish 7"),
)


class Ended(Exception):
    """The move was ended here."""


def usage(seed: int) -> list[Sent]:
    """Half a day of sixty teams: much of it late, much of it twice."""
    now_ms = wall_ms()
    spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, EVENTS, teams=60, late=0.05, duplicates=0.1, bad=0.01, seed=seed)
    return [Sent(record.key, record.value) for record in usage_stream(spec)]


def command(stack: Cluster, name: str = "repartition", *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """What the command answers."""
    environment = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap,
        "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
    }
    done = forked.command(name, "--json", *arguments, environment=environment)
    assert done.returncode == exit_code, done
    answer: dict[str, Any] = {"error": done.stderr} if exit_code else json.loads(done.stdout)
    return answer


def half_done(stack: Cluster, records: list[Sent], partitions: int) -> None:
    """Some of it is billed, some of it is read by nobody, and the topic has got more partitions."""
    stack.send(records[: EVENTS // 2])
    worker = stack.start()
    stack.drain(worker)
    if partitions > 8:
        error = command(stack, exit_code=1)["error"]
        assert "group billing-agg runs" in error
    worker.stop()
    stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")
    stack.send(records[EVENTS // 2 : EVENTS // 2 + 700])
    stack.admin.add_partitions(USAGE, partitions)
    stack.wait(lambda: stack.admin.describe([USAGE])[USAGE].partitions == partitions)
    stack.send(records[EVENTS // 2 + 700 : EVENTS // 2 + 1000])


def refused(stack: Cluster, *words: str) -> None:
    """A worker does not start as things are."""
    refused_to_start(stack.start(), "streamapp repartition", *words)
    stack.wait(lambda: stack.admin.group(GROUP).state in ("Empty", "Dead"))


def work_off(stack: Cluster, partitions: int, *workers: WorkerProcess) -> None:
    """Everything that the topic has is committed."""
    ends = stack.admin.end_offsets([(USAGE, number) for number in range(partitions)])
    wanted = {number: end for (_, number), end in ends.items() if end}
    stack.wait(lambda: stack.committed().items() >= wanted.items(), 60, *workers)


@pytest.mark.long
def test_workers_go_on_with_twice_the_partitions(ready_broker: Broker, tmp_path: Path) -> None:
    records = usage(seed=1)
    with cluster(ready_broker, tmp_path) as stack:
        assert command(stack)["nothing_to_do"]
        half_done(stack, records, 16)
        refused(stack, "16 partitions")

        plan = command(stack, "repartition", "--dry-run")
        assert (plan["from"], plan["to"]) == (8, 16)
        assert 700 <= plan["folded"] < 1000
        assert plan["rows"] > 100
        assert stack.admin.describe([CHANGELOG])[CHANGELOG].partitions == 8
        moved = command(stack)
        assert moved["folded"] == plan["folded"]
        assert moved["rows"] > 100
        assert moved["ids"] > 0
        assert command(stack)["nothing_to_do"]

        one, two = stack.start_ready("one"), stack.start_ready()  # a new machine, and one with rows from before
        stack.send(records[EVENTS // 2 + 1000 :])
        work_off(stack, 16, one, two)
        report = stack.verify()
        assert report.numbers["duplicates"] > 200
        assert "was put back" not in one.said() + two.said()


def test_a_move_whose_process_is_killed_goes_on(ready_broker: Broker, tmp_path: Path) -> None:
    records = usage(seed=3)
    with cluster(ready_broker, tmp_path) as stack:
        half_done(stack, records, 16)
        environment = {**os.environ, "STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap}
        words = [sys.executable, "-m", "streamapp", "repartition"]
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            stack.wait(lambda: stack.admin.describe([CHANGELOG])[CHANGELOG].partitions == 16)
            process.kill()
            assert process.wait() == -signal.SIGKILL, "it was killed in the middle"
        refused(stack)
        done = forked.command("repartition", environment=environment)
        assert re.search(
            r"^usage_hourly: 8 → 16 partitions; [\d,]+ records were counted first, [\d,]+ rows and [\d,]+ rows of ids",
            done.stdout,
        ), done
        done = forked.command("repartition", environment=environment)
        assert done.stdout == "usage_hourly has 16 partitions, as its topic: nothing to do\n"

        worker = stack.start()
        stack.send(records[EVENTS // 2 + 1000 :])
        work_off(stack, 16, worker)
        assert stack.verify().numbers["duplicates"] > 200


@pytest.mark.long  # the test above ends it at one step
def test_a_move_that_is_ended_at_any_step_goes_on(ready_broker: Broker, tmp_path: Path) -> None:
    records = usage(seed=2)
    with cluster(ready_broker, tmp_path) as stack:
        half_done(stack, records, 12)
        for number, step in enumerate(ENDED_AT):
            with pytest.raises(Ended):
                move(stack, tmp_path / f"move-{number}", ends_at=step)
            if step in ("copied 7", "seal 5"):
                refused(stack)
        assert move(stack, tmp_path / "move").stage.sealed
        assert move(stack, tmp_path / "again").done

        worker = stack.start()
        stack.send(records[EVENTS // 2 + 1000 :])
        work_off(stack, 12, worker)
        assert stack.verify().numbers["duplicates"] > 200

        worker.stop()
        stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")
        before = stack.bills()
        recompute = ("replay", "--group", GROUP, "--to-earliest", "--recompute", "--yes")
        found = command(stack, *recompute)["recompute"]
        assert (found["changes"], found["out_of_reach"] > 0) == (0, True), "hours of both homes are left alone"
        assert stack.bills() == before


def move(stack: Cluster, folder: Path, ends_at: str = "") -> Moved:
    """Move the table, up to a step."""

    def step(name: str) -> None:
        if name == ends_at:
            raise Ended(name)

    folder.mkdir()
    table, settings = declared("usage_hourly"), Settings(kafka=stack.kafka)
    make_task = table.make_task(settings, wall_ms)
    return asyncio.run(repartition(table.origin, settings, make_task, folder, wall_ms, step=step))
