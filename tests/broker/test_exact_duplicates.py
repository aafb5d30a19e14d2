"""The same event again, in every way that it comes again on a real cluster: it counts once, and other bytes never."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from usage_log import value
from verify_logs import text
from workers import Cluster, Letter, Sent, cluster, counted

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.topics.partitioner import partition_for

HOUR_MS = 3_600_000
SAME, OTHER, RESTART, TWO, HOURS = "team_same", "team_other", "team_restart", "team_two", "team_hours"
TEAMS = (SAME, OTHER, RESTART, TWO, HOURS)
MANY = 300  # events of the team with two producers


def event(name: str, team: str, at_ms: int, cost: str = "0.001") -> Sent:
    return Sent(team.encode(), value(f"{team}-{name}", at_ms, team, cost=cost))


def from_two_producers(stack: Cluster, records: list[Sent]) -> None:
    """Both send all of them, at the same time."""
    together = threading.Barrier(2)

    def send() -> None:
        together.wait()
        stack.send(records)

    other = threading.Thread(target=send)
    other.start()
    send()
    other.join()


@pytest.mark.long
def test_an_event_counts_once_however_it_is_repeated(ready_broker: Broker, tmp_path: Path) -> None:
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS - 8 * HOUR_MS
    first = {team: event("1", team, hour_ms) for team in TEAMS}
    changed = {team: event("1", team, hour_ms, cost="0.002") for team in TEAMS}
    with cluster(ready_broker, tmp_path) as stack:
        stack.send([*first.values(), first[SAME], changed[SAME], first[SAME]])  # before anybody reads: one chunk
        worker = stack.start()
        stack.drain(worker)
        stack.send([first[OTHER], changed[OTHER]])
        stack.drain(worker)

        two = [event(f"both-{number}", TWO, hour_ms) for number in range(MANY)]
        from_two_producers(stack, two)
        stack.send([changed[TWO]])
        stack.drain(worker)

        stack.send([event("later", HOURS, hour_ms + 6 * HOUR_MS)])  # closes the hour
        stack.drain(worker)
        stack.send([first[HOURS], changed[HOURS]])
        stack.drain(worker)

        worker.kill()
        stack.send([first[RESTART], changed[RESTART]])
        worker = stack.start(billing__idle_seconds=0.5)
        stack.drain(worker)
        hours = {(team, text(hour_ms), "USD"): 1 for team in TEAMS}
        hours[TWO, text(hour_ms), "USD"] += MANY
        hours[HOURS, text(hour_ms + 6 * HOUR_MS), "USD"] = 1
        stack.wait(lambda: len(counted(stack.bills())) == len(hours), 30, worker)
        requests = {key: count for key, (_, count) in counted(stack.bills()).items()}
        for (team, start, currency), count in hours.items():
            assert requests[team, start, currency] == count, team
        letters = stack.letters()
        for team in TEAMS:
            assert told_of(letters, team) == [("conflicting_duplicate", changed[team].value)], team
        assert len(letters) == len(TEAMS)
        stack.verify()


@pytest.mark.long
def test_a_repetition_on_another_partition_is_not_taken_for_the_event(ready_broker: Broker, tmp_path: Path) -> None:
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS - 8 * HOUR_MS
    sent = event("1", OTHER, hour_ms)
    home = partition_for(OTHER.encode(), 8)
    with cluster(ready_broker, tmp_path) as stack:
        stack.send([sent._replace(partition=(home + 1) % 8), sent, sent._replace(partition=(home + 2) % 8)])
        worker = stack.start(billing__idle_seconds=0.5)
        stack.wait(lambda: counted(stack.bills()) == {(OTHER, text(hour_ms), "USD"): (0, 1)}, 60, worker)
        stack.drain(worker)
        assert [letter.reason for letter in stack.letters()] == ["wrong_partition"] * 2
        stack.verify()


def told_of(letters: list[Letter], team: str) -> list[tuple[str, bytes | None]]:
    return [(letter.reason, letter.value) for letter in letters if letter.key == team.encode()]
