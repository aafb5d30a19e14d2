"""Anything in any order: Hypothesis looks for a history of a consumer group that ends in other bills than the oracle's.

What it found of planted bugs, shrunk, is in `kept_histories.py` and replayed here.
"""

from __future__ import annotations

from collections import Counter

import pytest
from arrivals import ODDITIES, ON_MARK, PARTITIONS, POISON, TEAMS
from group import FATES, Group
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from kept_histories import HISTORIES, PLANTED, History
from searches import is_long

from streamapp.errors import Misconfigured
from tables.window import DAY_MS, HOUR_MS, MINUTE_MS

EXAMPLES = 240 if is_long() else 80
STEPS = 40

TEAM = st.integers(0, len(TEAMS) - 1)
PARTITION = st.integers(0, PARTITIONS - 1)
PROCESS = st.integers(0, 1)
FATE = st.sampled_from(FATES)
AGO_MS = st.lists(
    st.sampled_from([0, 1, ON_MARK, 30_000, 7 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS, 26 * HOUR_MS]), min_size=1, max_size=5
)
SLEEP_MS = st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, DAY_MS, 15 * DAY_MS])
SKEW_MS = st.sampled_from([0, 0, 2 * HOUR_MS, -2 * HOUR_MS])


class GroupMachine(RuleBasedStateMachine):
    """The rules call the group's methods, which stand alone: a history replays without Hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group()

    @rule(team=TEAM, ago_ms=AGO_MS, cost=st.integers(0, 3), model=st.sampled_from(["o1", "o2"]))
    def produce(self, team: int, ago_ms: list[int], cost: int, model: str) -> None:
        self.group.produce(team, ago_ms, cost, model)

    @rule(which=st.integers(0, 20), conflicting=st.booleans())
    def again(self, which: int, conflicting: bool) -> None:
        self.group.again(which, conflicting)

    @rule(team=TEAM, why=st.sampled_from(POISON))
    def poisoned(self, team: int, why: str) -> None:
        self.group.poisoned(team, why)

    @rule(team=TEAM, kind=st.sampled_from(ODDITIES))
    def odd(self, team: int, kind: str) -> None:
        self.group.odd(team, kind)

    @rule(ms=SLEEP_MS)
    def sleep(self, ms: int) -> None:
        self.group.sleep(ms)

    @rule()
    def work_everything_off(self) -> None:
        for partition in range(PARTITIONS):
            self.group.work(partition)

    @rule(partition=PARTITION, records=st.integers(1, 8), fate=FATE, ahead=st.booleans())
    def work(self, partition: int, records: int, fate: str, ahead: bool) -> None:
        self.group.work(partition, records, fate, ahead)

    @rule(partition=PARTITION, skew_ms=SKEW_MS, fate=FATE)
    def tick(self, partition: int, skew_ms: int, fate: str) -> None:
        self.group.tick(partition, skew_ms, fate)

    @rule(process=PROCESS)
    def kill(self, process: int) -> None:
        self.group.kill(process)

    @rule(process=PROCESS)
    def wipe(self, process: int) -> None:
        self.group.wipe(process)

    @rule(partition=PARTITION, frozen=st.booleans())
    def move(self, partition: int, frozen: bool) -> None:
        self.group.move(partition, frozen)

    @rule(which=st.integers(0, 3))
    def thaw(self, which: int) -> None:
        self.group.thaw(which)

    @rule(partition=PARTITION, back=st.integers(0, 20))
    def reset(self, partition: int, back: int) -> None:
        self.group.reset(partition, back)

    @rule(fate=FATE)
    def bounce(self, fate: str) -> None:
        self.group.bounce(fate)

    @invariant()
    def what_is_committed_is_what_the_oracle_says(self) -> None:
        self.group.check()

    def teardown(self) -> None:
        self.group.finish()


@pytest.mark.timeout(1200)
def test_any_history_ends_in_the_bills_of_the_oracle() -> None:
    happened: Counter[str] = Counter()

    class Noted(GroupMachine):
        def teardown(self) -> None:
            super().teardown()
            happened.update(self.group.happened)

    run_state_machine_as_test(
        Noted,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    expected = {"Died", "OutcomeUnknown", "Fenced", "idle close", "reset", "expired"}
    often = 5
    assert {name for name in expected if happened[name] < often} == set(), happened
    assert happened["a frozen owner wrote"] == 0


def live(group: Group, history: History) -> None:
    """A history, call by call, with the check after each."""
    for name, arguments in history:
        getattr(group, name)(**arguments)
        group.check()
    group.finish()


@pytest.mark.parametrize("name", HISTORIES)
def test_a_kept_history_ends_well(name: str) -> None:
    live(Group(), HISTORIES[name])


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_by_its_history(name: str) -> None:
    with pytest.raises((AssertionError, Misconfigured)):
        live(PLANTED[name](), HISTORIES[name])
