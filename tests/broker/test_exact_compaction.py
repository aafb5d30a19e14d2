"""A changelog that was compacted in between: the rows that come back from it are the rows that were there."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from usage_log import value
from verify_logs import text
from workers import CHANGELOG, DRAIN_S, PARTITIONS, Cluster, Sent, cluster, counted

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.simulate.usage import UsageSpec, usage_stream

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EVENTS = 900
TEAMS = [f"team_{number}" for number in range(40)]
EAGER = {"log.cleaner.backoff.ms": "50"}


def compact_eagerly(stack: Cluster, **more: object) -> None:
    """Every segment but the last is compacted at once."""
    eager = {"segment.ms": "500", "min.cleanable.dirty.ratio": "0"}
    stack.admin.set_configs(CHANGELOG, eager | {name.replace("_", "."): str(value) for name, value in more.items()})


def written(stack: Cluster) -> int:
    """Offsets of the changelog that were given to anything."""
    return sum(stack.admin.end_offsets([(CHANGELOG, number) for number in range(PARTITIONS)]).values())


def tombstones(stack: Cluster) -> int:
    return sum(not record.value for record in stack.read(CHANGELOG))


def toucher(stack: Cluster, worker: WorkerProcess, at_ms: int) -> Callable[[], bool]:
    """A function that puts something new into every partition: the cleaner cleans what is behind something."""
    numbers = itertools.count()

    def touch() -> bool:
        stack.send(of_every_team(f"touch-{next(numbers)}", at_ms))
        stack.drain(worker)
        return True

    return touch


def of_every_team(name: str, at_ms: int) -> list[Sent]:
    return [Sent(team.encode(), value(f"{name}-{team}", at_ms + number, team)) for number, team in enumerate(TEAMS)]


@pytest.mark.long
def test_rows_come_back_from_a_compacted_changelog(
    new_broker: Callable[..., Broker], formatted: Path, tmp_path: Path
) -> None:
    broker = new_broker(formatted, properties=EAGER)
    broker.start()
    with cluster(broker, tmp_path) as stack:
        compact_eagerly(stack)
        now_ms = wall_ms()
        spec = UsageSpec(now_ms - 6 * HOUR_MS, now_ms - HOUR_MS, EVENTS, teams=20, bad=0, seed=31)
        usage = [Sent(record.key, record.value) for record in usage_stream(spec)]
        stack.send(usage)
        behind = stack.start("behind", worker__chunk_records=20)
        stack.work(EVENTS // 3, behind)
        behind.kill()
        worker = stack.start("wiped", worker__chunk_records=20)
        stack.drain(worker)
        touch = toucher(stack, worker, now_ms - HOUR_MS)
        stack.wait(lambda: touch() and len(stack.read(CHANGELOG)) < written(stack) / 2, DRAIN_S, worker)
        worker.kill()
        shutil.rmtree(tmp_path / "wiped")
        for state in ("wiped", "behind"):  # every row from the changelog, and some, from where it was compacted since
            worker = stack.start(state)
            stack.send(usage)  # each id is known
            stack.drain(worker)
            worker.kill()
        assert stack.verify().numbers["duplicates"] >= 2 * EVENTS


@pytest.mark.long
def test_rows_that_slept_through_their_own_deletion_are_not_stated_again(
    new_broker: Callable[..., Broker], formatted: Path, tmp_path: Path
) -> None:
    """A worker's disk holds open hours; another worker bills them, lets them expire, and the changelog forgets even
    that they were deleted. Back in the hands of the first, they are not billed again."""
    broker = new_broker(formatted, properties=EAGER)
    broker.start()
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS
    old_ms = hour_ms - 20 * DAY_MS
    with cluster(broker, tmp_path) as stack:
        compact_eagerly(stack, delete_retention_ms=0)
        worker = stack.start("asleep")
        stack.send(of_every_team("old", old_ms))
        stack.drain(worker)
        worker.kill()

        worker = stack.start("other")
        stack.send(of_every_team("new", hour_ms - 2 * HOUR_MS))
        stack.drain(worker)
        assert counted(stack.bills()) == {(team, text(old_ms), "USD"): (0, 1) for team in TEAMS}
        assert tombstones(stack)
        touch = toucher(stack, worker, hour_ms - 2 * HOUR_MS)
        stack.wait(lambda: touch() and not tombstones(stack), DRAIN_S, worker)
        worker.kill()

        worker = stack.start("asleep", billing__idle_seconds=0.5)
        stack.wait(lambda: len(counted(stack.bills())) == 2 * len(TEAMS), 30, worker)
        assert "forgot deletions" in worker.said()
        assert len(stack.bills()) == 2 * len(TEAMS)
        stack.verify()
