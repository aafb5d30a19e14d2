"""Processes are started a few at a time, in their order, and one that does not come up holds nobody up for long."""

from __future__ import annotations

from streamapp.processes.launch import PATIENCE_S, Launch
from streamapp.processes.supervisor import Job

JOBS = [Job(name, ("true",), 1, port=number) for number, name in enumerate("abcde", 1)]


def test_the_next_starts_when_one_is_up() -> None:
    launch, up = Launch(JOBS, at_once=2), set[str]()
    started = [launch.due(lambda job: job.name in up, second) for second in range(2)]
    assert started == [["a", "b"], []]
    up.add("b")
    assert launch.due(lambda job: job.name in up, 2) == ["c"]
    assert (launch.up, launch.total, launch.done) == (1, 5, False)
    up |= {"a", "c"}
    assert launch.due(lambda job: job.name in up, 3) == ["d", "e"]
    up |= {"d", "e"}
    assert launch.due(lambda job: job.name in up, 4) == []
    assert launch.done


def test_one_that_does_not_come_up_is_waited_for_no_longer_than_patience() -> None:
    launch = Launch(JOBS[:3], at_once=1)
    assert launch.due(lambda job: False, 0) == ["a"]
    assert launch.due(lambda job: False, PATIENCE_S) == []
    assert launch.due(lambda job: False, PATIENCE_S + 1) == ["b"]
    assert not launch.done


def test_nothing_to_start_is_done() -> None:
    launch = Launch((), at_once=2)
    assert launch.due(lambda job: True, 0) == []
    assert launch.done
