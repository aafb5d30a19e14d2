"""Disks, clocks and changelogs that fail a worker: it says what is wrong and ends, or goes on; no total is wrong."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from searches import of
from usage_log import value
from verify_logs import text
from workers import CHANGELOG, Cluster, Sent, bodies, cluster, counted

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms

HOUR_MS = 3_600_000
TEAMS = [f"team_{number}" for number in range(40)]
ROOM_BYTES = 64 * 1024  # for each file of a worker whose disk is full
QUICK_S = 0.5
STEPPED_S = 600  # passes when a clock is stepped, and not by itself


def of_hour(name: str, hour_ms: int) -> list[Sent]:
    """An event of every team."""
    return [Sent(team.encode(), value(f"{name}-{team}", hour_ms + number, team)) for number, team in enumerate(TEAMS)]


def hours_ago(hours: int) -> int:
    return wall_ms() // HOUR_MS * HOUR_MS - hours * HOUR_MS


def step_to(file: Path, by_ms: int) -> None:
    """Set a worker's clock, in one piece: the worker may look at any moment."""
    written = file.with_suffix(".new")
    written.write_text(str(by_ms))
    written.replace(file)


def ended_in_words(stack: Cluster, worker: WorkerProcess, *words: str) -> None:
    """The worker ends by itself, not as if all were well, and says why."""
    stack.wait(lambda: not worker.runs)
    last = worker.said()[-5000:]
    assert worker.exit_code not in (0, None), last
    assert "CRITICAL" in last
    for word in words:
        assert word in last, (word, last)


@pytest.mark.long
def test_a_full_disk_stops_the_worker_and_loses_nothing(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=21):
            worker = stack.start_ready()
            stack.work(of(1000), worker)
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))
            ended_in_words(stack, worker, "stopped while committing partition", "File too large")
            done = stack.done()
            worker = stack.start_ready()
            stack.work(done + 1000, worker)
        stack.drain(worker)
        stack.verify()


@pytest.mark.long
def test_a_clock_that_steps_by_hours_states_nothing_wrong(ready_broker: Broker, tmp_path: Path) -> None:
    step = tmp_path / "step"
    step_to(step, 0)
    hour_ms = hours_ago(1) + HOUR_MS  # the present one
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_agent(
            "stepped_billing", Path(__file__).parent, STEP_FILE=step, billing__idle_seconds=STEPPED_S
        )
        stack.send(of_hour("first", hour_ms))
        stack.drain(worker)
        assert stack.bills() == []
        step_to(step, 2 * HOUR_MS)  # the present hour seems to be over
        early = {(team, text(hour_ms), "USD"): (0, 1) for team in TEAMS}
        stack.wait(lambda: counted(stack.bills()) == early, 30, worker)
        stack.send(of_hour("second", hour_ms))
        stack.drain(worker)
        step_to(step, 4 * HOUR_MS)  # silence again
        revised = {(team, text(hour_ms), "USD"): (1, 2) for team in TEAMS}
        stack.wait(lambda: counted(stack.bills()) == revised, 30, worker)
        step_to(step, -2 * HOUR_MS)  # everything seems to have just arrived
        stack.send(of_hour("third", hour_ms))
        stack.drain(worker)
        assert counted(stack.bills()) == revised, "by this clock no partition is silent yet"
        step_to(step, 0)
        revised = {(team, text(hour_ms), "USD"): (2, 3) for team in TEAMS}
        stack.wait(lambda: counted(stack.bills()) == revised, 30, worker)
        assert len(stack.bills()) == 3 * len(TEAMS)
        stack.verify()


@pytest.mark.long
def test_hours_that_close_while_partitions_move_are_stated_once(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        first = stack.start_ready("first", billing__idle_seconds=QUICK_S)
        for round_ in range(3):
            taken = len(first.takeovers())
            hour_ms = hours_ago(9 - round_)
            second = stack.start("second", billing__idle_seconds=QUICK_S)
            stack.wait(lambda: "Ready" in second.said() or second.takeovers(), 30, first, second)  # noqa: B023
            stack.send(of_hour(f"open-{round_}", hour_ms))
            stack.wait(lambda: len(first.takeovers()) > taken and second.takeovers(), 30, first, second)  # noqa: B023
            stack.send(of_hour(f"late-{round_}", hour_ms))
            second.kill() if round_ % 2 else second.stop()
            stack.wait(lambda: len(first.takeovers()[-1][0]) == 8, 30, first)
            stack.drain(first)
            expected = dict.fromkeys(TEAMS, 2)
            stack.wait(lambda: requests(stack, text(hour_ms)) == expected, 30, first)  # noqa: B023
        whose = [(data["team_id"], data["period_start"], data["revision"]) for data in stated(stack)]
        assert len(whose) == len(set(whose))
        assert sum(revision == 0 for _, _, revision in whose) == 3 * len(TEAMS)
        stack.verify()


def stated(stack: Cluster) -> Iterator[dict[str, object]]:
    return (body["data"] for body in bodies(stack.bills()))


def requests(stack: Cluster, period_start: str) -> Counter[str]:
    """Team → requests, the deltas added up."""
    sums: Counter[str] = Counter()
    for body in bodies(stack.bills()):
        if body["data"]["period_start"] == period_start:
            sums[body["data"]["team_id"]] += body["data"]["delta"]["requests"]
    return sums


def test_a_changelog_that_takes_no_rows_stops_the_worker_and_nothing_is_stated(
    ready_broker: Broker, tmp_path: Path
) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        with stack.load(seed=22):
            worker = stack.start_ready()
            stack.work(of(1000), worker)
            stack.admin.set_configs(CHANGELOG, {"max.message.bytes": "500"})
            ended_in_words(stack, worker, "stopped while committing partition", "MessageSizeTooLargeError")
            bills = stack.bills()
            ended_in_words(stack, stack.start(), "stopped while committing partition", "MessageSizeTooLargeError")
            assert stack.bills() == bills, "what was refused is nowhere"
            stack.admin.set_configs(CHANGELOG, {"max.message.bytes": str(8 << 20)})
            worker = stack.start_ready()
            stack.work(stack.done() + of(1000), worker)
        stack.drain(worker)
        stack.verify()
