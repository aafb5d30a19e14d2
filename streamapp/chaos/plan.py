"""What a chaos run does to the workers and the broker, and when: pure, the same seed gives the same plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from random import Random

WORKERS_FIRST = 1
SCALES = (2, 4, 1)  # workers after each scaling, over and over
FROZEN_S = (9.0, 14.0)  # longer than the session of 6 s: somebody else takes over meanwhile
AWAY_S = (0.0, 8.0)  # shorter than the delivery timeout of 30 s: to be survived
OUTAGES_S = (25.0, 60.0)  # just survived; and longer than the delivery timeout: every worker stops
OUTAGES_FROM_MINUTES = 3.75  # of load; shorter runs have no time for them
REFUSES_S = (2.0, 6.0)
CLOCK_STEP_S = 7200.0
USUAL_S = 8.0  # from a fault until all goes on, and a little work before the next one
FIRST_AT = 0.08  # of the run: something must have been counted
LAST_AT = 0.95


class Fault(StrEnum):
    """What goes wrong."""

    KILL = "kill -9"
    KILL_WIPE = "kill -9, rows lost"
    CORRUPT = "kill -9, files broken"
    FREEZE = "frozen"
    CLOCK = "clock stepped"
    BROKER = "broker kill -9"
    OUTAGE = "broker away"
    SCALE = "scaled"
    DISK_FULL = "disk full"
    REFUSES = "changelog takes no rows"
    COMPACTED = "changelog compacted, rows lost"
    PUT_BACK = "offsets put back"


ELSEWHERE = frozenset({Fault.BROKER, Fault.OUTAGE, Fault.REFUSES, Fault.PUT_BACK})
"""Faults that no single worker suffers."""


@dataclass(frozen=True, slots=True)
class Step:
    """`at`: share of the time in which the load is sent. `which`: number of a worker that runs then, counted from 0.
    `seconds`: how long somebody is frozen or away, or how far a clock steps. `workers`: how many there are then."""

    at: float
    fault: Fault
    which: int
    seconds: float = 0.0
    workers: int = 0

    def __str__(self) -> str:
        match self.fault:
            case Fault.SCALE:
                return f"scaled to {self.workers}"
            case Fault.CLOCK:
                return f"clock stepped by {self.seconds / 3600:+g} h"
        return self.fault.value + (f" for {self.seconds:g} s" if self.seconds else "")


def plan(seed: int, minutes: float, kinds: Sequence[Fault] = tuple(Fault)) -> tuple[Step, ...]:
    """Faults of these kinds in random order and at random moments, as many as `minutes` have room for.

    From two minutes on, every kind happens, but outages; from `OUTAGES_FROM_MINUTES` on, each of these once, and every
    other kind again and again. Nobody is frozen who is alone.
    """
    rng = Random(seed)
    usual = [kind for kind in kinds if kind is not Fault.OUTAGE]
    outages = list(OUTAGES_S) if Fault.OUTAGE in kinds and (minutes >= OUTAGES_FROM_MINUTES or not usual) else []
    room_s = 60 * minutes * (LAST_AT - FIRST_AT) - sum(outages) - USUAL_S * len(outages)
    drawn = _drawn(rng, usual, room_s) if usual else []
    for seconds in outages:
        drawn.insert(rng.randint(0, len(drawn)), (Fault.OUTAGE, seconds))
    return tuple(_timed(rng, drawn, 60 * minutes))


def _drawn(rng: Random, usual: Sequence[Fault], room_s: float) -> list[tuple[Fault, float]]:
    """Round after round, every kind once in each, until there is no room left; one in any case."""
    drawn: list[tuple[Fault, float]] = []
    left: list[Fault] = []
    workers, scales = WORKERS_FIRST, cycle(SCALES)
    while room_s > 0 or not drawn:
        left = left or rng.sample(usual, len(usual))
        fault = next((fault for fault in left if possible(fault, workers)), Fault.SCALE)
        if fault in left:
            left.remove(fault)
        seconds = _seconds(rng, fault)
        if fault is Fault.SCALE:
            workers = next(scales)
        drawn.append((fault, seconds))
        room_s -= USUAL_S + (0.0 if fault is Fault.CLOCK else seconds / 2)
    return drawn


def _seconds(rng: Random, fault: Fault) -> float:
    match fault:
        case Fault.FREEZE:
            return round(rng.uniform(*FROZEN_S), 1)
        case Fault.BROKER:
            return round(rng.uniform(*AWAY_S), 1)
        case Fault.REFUSES:
            return round(rng.uniform(*REFUSES_S), 1)
        case Fault.CLOCK:
            return rng.choice((-CLOCK_STEP_S, CLOCK_STEP_S))
    return 0.0


def _timed(rng: Random, drawn: Sequence[tuple[Fault, float]], run_s: float) -> list[Step]:
    """Spread over the run, each with time in proportion to what it takes; and whom each one hits."""
    takes_s = [USUAL_S + (0.0 if fault is Fault.CLOCK else seconds) for fault, seconds in drawn]
    stretch = run_s * (LAST_AT - FIRST_AT) / sum(takes_s)
    steps, at_s = [], run_s * FIRST_AT
    workers, scales = WORKERS_FIRST, cycle(SCALES)
    for (fault, seconds), takes in zip(drawn, takes_s, strict=True):
        which = rng.randrange(workers)
        if fault is Fault.SCALE:
            workers = next(scales)
        steps.append(Step(at_s / run_s, fault, which, seconds, workers))
        at_s += takes * stretch
    return steps


def possible(fault: Fault, workers: int) -> bool:
    """Whether so many workers can suffer it."""
    return workers > 1 or fault is not Fault.FREEZE
