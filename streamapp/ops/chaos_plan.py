"""What a chaos run does to the workers and the broker, and when: pure, the same seed gives the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

WORKERS_FIRST = 2
WORKERS_MAX = 3
FAULTS_A_MINUTE = 6
FROZEN_S = (9.0, 14.0)  # longer than the session of 6 s: somebody else takes over meanwhile
AWAY_S = (0.0, 8.0)  # shorter than the delivery timeout: to be survived
JITTER = 0.4  # of the distance between two faults


class Fault(StrEnum):
    """What goes wrong."""

    KILL = "kill -9"
    KILL_WIPE = "kill -9, rows lost"
    FREEZE = "frozen"
    BROKER = "broker kill -9"
    SCALE_UP = "one worker more"
    SCALE_DOWN = "one worker less"


@dataclass(frozen=True, slots=True)
class Step:
    """`at`: share of the time in which the load is sent. `which`: number of a worker that runs then, counted from 0.
    `seconds`: how long somebody is frozen or away."""

    at: float
    fault: Fault
    which: int
    seconds: float = 0.0


def plan(seed: int, minutes: float) -> tuple[Step, ...]:
    """Every kind of fault at least once, in random order and at random moments, never before the first tenth.

    There are 1 to 3 workers at any time, and nobody is frozen or taken away who is alone.
    """
    rng = Random(seed)
    count = max(len(Fault), round(FAULTS_A_MINUTE * minutes))
    drawn: list[tuple[Fault, int, float]] = []
    workers, left = WORKERS_FIRST, rng.sample(list(Fault), len(Fault))
    while len(drawn) < count:
        fault = next((fault for fault in left if possible(fault, workers)), None)
        if fault is None:  # only what cannot be done now is left
            fault = Fault.SCALE_UP if workers == 1 else Fault.SCALE_DOWN
            count += 1
        else:
            left.remove(fault)
        seconds = {Fault.FREEZE: rng.uniform(*FROZEN_S), Fault.BROKER: rng.uniform(*AWAY_S)}.get(fault, 0.0)
        drawn.append((fault, rng.randrange(workers), round(seconds, 1)))
        workers += (fault is Fault.SCALE_UP) - (fault is Fault.SCALE_DOWN)
        left = left or rng.sample(list(Fault), len(Fault))
    moments = (0.1 + 0.85 * (number + rng.uniform(0, JITTER)) / count for number in range(count))
    return tuple(Step(at, *facts) for at, facts in zip(moments, drawn, strict=True))


def possible(fault: Fault, workers: int) -> bool:
    """Whether so many workers can suffer it, and the next ones after it."""
    if fault is Fault.SCALE_UP:
        return workers < WORKERS_MAX
    return workers > 1 or fault not in (Fault.SCALE_DOWN, Fault.FREEZE)
