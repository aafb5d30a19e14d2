"""What every simulated stream has in common: moments, shares, late events, repetitions, poison. Pure, seeded.

A stream brings along how its good events are made (`Source`); the dice are the same for all. Always a little out of
order; besides good events, by their shares: late ones of hours that closed, duplicates (some with other bytes), and
poison of every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NamedTuple

from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.ulid import RANDOM_BYTES, event_id
from streamapp.simulate.poison import Poison, Sound
from streamapp.simulate.world import DRAWS

HOUR_MS = 3_600_000
DISORDER_MS_MAX = 20_000
NEAR_LATE_SHARE = 0.8  # of late events: within half a day
CONFLICT_SHARE = 0.1  # of duplicates: other bytes under the same id
KEPT = 8192  # good events that may come again
KEEP_EVERY = 4  # of the good ones, so that what is kept reaches further back
MEMORY_MS = 20 * HOUR_MS  # a duplicate comes while ids are surely remembered: 24 h after the hour (decision 13)


class Kind(StrEnum):
    """What a simulated record is."""

    GOOD = "good"
    LATE = "late"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    BAD = "bad"


class SimulatedRecord(NamedTuple):
    """A record to send; its key decides the partition. `reason` is what `dead_letter` has to say, None if it counts
    or is a plain duplicate; `name` tells which poison it is."""

    key: bytes
    value: bytes | None
    kind: Kind
    reason: Reason | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream is like. Moments in UTC milliseconds; shares are of all records.

    Good events lie between `start_ms` and `end_ms`, evenly by their index; `end_ms` is "now": nothing but poison is
    later. `directory` is team → org; its teams come first, and sometimes without their org.
    """

    start_ms: int
    end_ms: int
    events: int
    teams: int = 200
    late: float = 0.01
    duplicates: float = 0.02
    bad: float = 0.005
    seed: int = 1
    grace_ms: int = 300_000
    directory: Mapping[str, str] = field(default_factory=dict)
    run: int = 0  # another run of the same teams: other events under other ids; 0 is the first

    def __post_init__(self) -> None:
        assert self.start_ms <= self.end_ms
        assert self.teams > 0
        assert self.late + self.duplicates + self.bad <= 1


class Source(NamedTuple):
    """What a stream has of its own.

    build           moment → key and value of a new good event; the value has the envelope of `poison.Sound`
    other           what stands in every good event's value, and what makes other bytes of it under the same id
    conflict        what `dead_letter` says of those; None: nothing, the stream's readers keep both
    poisons         what goes wrong
    late_hours_max  a late event is not older: topics do not keep it longer, or it would be refused
    """

    build: Callable[[int], tuple[bytes, bytes]]
    other: tuple[bytes, bytes]
    conflict: Reason | None
    poisons: tuple[Poison, ...]
    late_hours_max: int


def history(spec: StreamSpec) -> Iterator[int]:
    """The moment of each of the spec's events, from its start to its end."""
    span, last = spec.end_ms - spec.start_ms, max(1, spec.events - 1)
    return (spec.start_ms + span * index // last for index in range(spec.events))


def stream(source: Source, spec: StreamSpec, rng: Random, times: Iterable[int] | None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it is sent, `history(spec)` by default."""
    if spec.run:
        rng.seed(f"{rng.random()}/{spec.run}")
    build, roll, jitter = source.build, rng.random, _jitters(rng)
    bad, duplicates, late = spec.bad, spec.bad + spec.duplicates, spec.bad + spec.duplicates + spec.late
    kept = _Kept()
    for number, now_ms in enumerate(history(spec) if times is None else times):
        dice = roll()
        if dice < duplicates and kept.sent:
            one = kept.one(rng, now_ms - MEMORY_MS)
            yield _poisoned(source, spec, rng, one, now_ms) if dice < bad else _again(source, rng, one)
        elif duplicates <= dice < late:
            at_ms = _closed_ms(rng, now_ms - spec.grace_ms, source.late_hours_max)
            yield SimulatedRecord(*build(at_ms), Kind.LATE)
        else:
            at_ms = now_ms - jitter[number % DRAWS]
            key, value = build(at_ms)
            if not number % KEEP_EVERY:
                kept.keep(_Sent(at_ms, key, value))
            yield SimulatedRecord(key, value, Kind.GOOD)


class _Sent(NamedTuple):
    at_ms: int
    key: bytes
    value: bytes


class _Kept:
    """Good events that were sent, the newest `KEPT` of every fourth."""

    def __init__(self) -> None:
        self.sent: list[_Sent] = []
        self._next = 0

    def keep(self, one: _Sent) -> None:
        if len(self.sent) < KEPT:
            self.sent.append(one)
        else:
            self.sent[self._next] = one
        self._next = (self._next + 1) % KEPT

    def one(self, rng: Random, after_ms: int) -> _Sent:
        chosen = self.sent[rng.randrange(len(self.sent))]
        return chosen if chosen.at_ms > after_ms else self.sent[self._next - 1]


def _again(source: Source, rng: Random, one: _Sent) -> SimulatedRecord:
    if rng.random() < CONFLICT_SHARE:
        return SimulatedRecord(one.key, one.value.replace(*source.other, 1), Kind.CONFLICTING, source.conflict)
    return SimulatedRecord(one.key, one.value, Kind.DUPLICATE)


def _poisoned(source: Source, spec: StreamSpec, rng: Random, one: _Sent, now_ms: int) -> SimulatedRecord:
    own_id = event_id(one.at_ms, rng.randbytes(RANDOM_BYTES)).encode()
    at = one.value.index(b"evt_")
    value = one.value[:at] + own_id + one.value[at + len(own_id) :]
    sound = Sound(one.key, value, one.at_ms, max(now_ms, spec.end_ms))
    poison = rng.choice(source.poisons)
    return SimulatedRecord(*poison.spoil(sound, rng), Kind.BAD, poison.reason, poison.name)


def _closed_ms(rng: Random, open_ms: int, hours_max: int) -> int:
    """A moment in an hour that ended before `open_ms`, mostly one of the last."""
    hours_back = rng.randint(1, 12 if rng.random() < NEAR_LATE_SHARE else hours_max)
    return (open_ms - DISORDER_MS_MAX) // HOUR_MS * HOUR_MS - hours_back * HOUR_MS + rng.randrange(HOUR_MS)


def _jitters(rng: Random) -> tuple[int, ...]:
    return tuple(min(DISORDER_MS_MAX, int(rng.expovariate(1 / 2_000))) for _ in range(DRAWS))
