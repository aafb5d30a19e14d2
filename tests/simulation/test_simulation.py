"""Thousands of histories of crashes, rebalances and bad input: every one ends in the same, true bills.

A failure names its seed; `World(seed).run()` lives it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

import pytest
from planted import PLANTED
from searches import of
from world import World

from streamapp.errors import Misconfigured

HISTORIES = of(250)  # at about 30 ms each
HISTORIES_UNTIL_FOUND = 60
SEEDS = pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.long)])
"""Of worlds in which something happens at every step: each step is a history."""


def live(kind: type[World], seed: int) -> World:
    """A whole history. Whatever it raises says which seed it was."""
    world = kind(seed)
    try:
        world.run()
    except Exception as error:
        error.add_note(f"{kind.__name__}, seed {seed}")
        raise
    return world


@cache
def happened_in(seed: int) -> Counter[str]:
    """What happened in a sound world."""
    return live(World, seed).happened


def live_many(kind: type[World], seeds: Iterable[int]) -> None:
    for seed in seeds:
        live(kind, seed)


@pytest.mark.parametrize("base", [0, 10_000, 20_000, 30_000])
def test_bills_are_a_function_of_the_log_whatever_happens(base: int) -> None:
    for seed in range(base, base + HISTORIES):
        happened_in(seed)


def test_histories_are_eventful() -> None:
    happened: Counter[str] = Counter()
    for seed in range(40):
        happened += happened_in(seed)
    expected = {
        *("crash", "freeze", "wake", "move", "reset", "wipe", "Fenced", "OutcomeUnknown", "revision", "expired row"),
        *("crossing", "spent", "limit"),
        *("poison", "wrong_partition", "timestamp_in_future", "conflicting_duplicate", "org_unresolved", "too_late"),
    }
    assert {name for name in expected if happened[name] < 5} == set()


def test_a_seed_is_a_history() -> None:
    first, again = live(World, 7), live(World, 7)
    for one, other in zip(first.kafka.changelogs, again.kafka.changelogs, strict=True):
        assert [entry[1:] for entry in one.entries] == [entry[1:] for entry in other.entries]
    assert first.happened == again.happened


def quiet_world(seed: int) -> World:
    """Thirty records, no chance, two workers, the first of which owns everything."""
    world = World(seed)
    world.calm = True
    for _ in range(10):
        world.produce()
    world.assign_to(world.processes[0])
    return world


@pytest.mark.parametrize("wiped", [False, True])
@SEEDS
def test_a_crash_at_every_single_step(seed: int, wiped: bool) -> None:
    steps = 0
    while True:
        world = quiet_world(seed)
        process, owner = world.processes[0], world.processes[0].owners[0]
        for _ in range(steps):
            world.advance(process, owner)
        done = owner.resting
        world.end(process)
        if wiped:
            process.disks.clear()
        world.finish()
        if done:
            break
        steps += 1
    assert steps > 50


@SEEDS
def test_an_owner_frozen_at_any_step_changes_nothing_when_it_wakes_up_after_a_takeover(seed: int) -> None:
    steps = 0
    while True:
        world = quiet_world(seed)
        process, owner = world.processes[0], world.processes[0].owners[0]
        for _ in range(steps):
            world.advance(process, owner)
        done = owner.resting
        other = world.add_process()
        world.assign_to(other)
        for _ in range(20 + steps):  # far enough to have taken over, at times all is read
            world.advance(other, other.owners[0])
        for _ in range(200):
            if owner not in process.owners or not world.advance(process, owner):
                break
        world.finish()
        if done:
            break
        steps += 1
    assert steps > 50


@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_a_planted_bug_is_found(kind: type[World]) -> None:
    with pytest.raises((AssertionError, Misconfigured)):
        live_many(kind, range(HISTORIES_UNTIL_FOUND))
