"""Hours that end while nothing arrives, or while no worker is up; and what comes after."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2
from usage_log import value
from verify_logs import text
from workers import PARTITIONS, Cluster, Sent, bodies, cluster, counted

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms

HOUR_MS = 3_600_000
TEAMS = [f"team_{number}" for number in range(40)]


def events(name: str, at_ms: int, teams: list[str]) -> list[Sent]:
    return [Sent(team.encode(), value(f"{name}-{team}", at_ms + number, team)) for number, team in enumerate(teams)]


def test_an_hour_is_billed_without_another_event(ready_broker: Broker, tmp_path: Path) -> None:
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS - 3 * HOUR_MS
    hour, next_hour = text(hour_ms), text(hour_ms + HOUR_MS)
    assert len({murmur2(team.encode()) % PARTITIONS for team in TEAMS}) == PARTITIONS
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start()
        stack.send(events("first", hour_ms, TEAMS))
        stack.send(events("second", hour_ms + HOUR_MS, TEAMS[:1]))  # one partition goes on, the others are silent
        stack.drain(worker)
        assert worker.stop() == 0
        assert stack.bills() == []

        worker = stack.start(billing__idle_seconds=0.5)
        every = {(team, hour, "USD"): (0, 1) for team in TEAMS} | {(TEAMS[0], next_hour, "USD"): (0, 1)}
        stack.wait(lambda: counted(stack.bills()) == every, 30, worker)

        stack.send(events("late", hour_ms, TEAMS))
        revised = every | {(team, hour, "USD"): (1, 2) for team in TEAMS}
        stack.wait(lambda: counted(stack.bills()) == revised, 30, worker)
        assert len(stack.bills()) == len(TEAMS) * 2 + 1
        assert {bill["data"]["supersedes"] is None for bill in bodies(stack.bills())} == {True, False}
        stack.verify()


@pytest.mark.long
def test_bursts_that_meet_the_closing_of_their_hour_count_once(ready_broker: Broker, tmp_path: Path) -> None:
    hour_ms, rounds = wall_ms() // HOUR_MS * HOUR_MS - 3 * HOUR_MS, 5
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=0.3)
        for number in range(rounds):
            before = len(stack.bills())
            stack.send(events(f"quiet-{number}", hour_ms, TEAMS))
            stack.wait(lambda: len(stack.bills()) > before, 30, worker)  # noqa: B023
            for burst in range(3):  # some partitions are being closed by the clock, others are about to
                stack.send(events(f"burst-{number}-{burst}", hour_ms, TEAMS))
        every = {(team, hour_ms): 4 * rounds for team in TEAMS}
        stack.wait(lambda: requests(stack, hour_ms) == every, 30, worker)
        revisions = [(bill["data"]["team_id"], bill["data"]["revision"]) for bill in bodies(stack.bills())]
        assert len(revisions) == len(set(revisions))
        assert len(revisions) > 2 * len(TEAMS), "the bursts met closed hours"
        stack.verify()


def requests(stack: Cluster, hour_ms: int) -> dict[tuple[str, int], int]:
    """What the newest revisions say of an hour."""
    stated = counted(stack.bills()).items()
    return {(team, hour_ms): count for (team, start, _), (_, count) in stated if start == text(hour_ms)}


def test_what_no_org_was_known_for_is_billed_when_the_directory_knows_it(ready_broker: Broker, tmp_path: Path) -> None:
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS - 3 * HOUR_MS
    listed = tmp_path / "directory.toml"
    listed.write_text("")
    orphan = Sent(b"team_orphan", value("orphan", hour_ms, "team_orphan", None))
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start(billing__idle_seconds=0.5, directory=listed)
        stack.send([orphan])
        stack.wait(lambda: [letter.reason for letter in stack.letters()] == ["org_unresolved"], 30, worker)
        listed.write_text('[teams.team_orphan]\norg = "org_found"\n')
        stack.send([orphan])  # as a redrive does: the same bytes again
        stack.wait(stack.bills, 30, worker)
        bill = bodies(stack.bills())[0]
        assert (bill["org_id"], bill["team_id"], bill["data"]["totals"]["requests"]) == ("org_found", "team_orphan", 1)
        assert len(stack.letters()) == 1
        assert worker.takeovers(), "it was not started again for it"
        stack.verify(listed)
