"""A realistic usage stream, reproducible to the byte: the same spec and times give the same records. Pure, seeded.

Always a little out of order; besides good events, by their shares: late ones of hours that closed, duplicates (some
with other bytes), and poison of every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NamedTuple

from streamapp.ops.simulate_poison import POISONS, Sound
from streamapp.ops.simulate_world import DRAWS, MODELS, OUTCOMES, draws, teams, token_table, zipf
from streamapp.schemas.rejected import Reason
from streamapp.schemas.timestamp import format_ms
from streamapp.schemas.ulid import RANDOM_BYTES, event_id

HOUR_MS = 3_600_000
PICO = 10**12
DISORDER_MS_MAX = 20_000
LATE_HOURS_MAX = 13 * 24  # older than the topic's 14 days would be refused
NEAR_LATE_SHARE = 0.8  # of late events: within half a day
CONFLICT_SHARE = 0.1  # of duplicates: other bytes under the same id
KEPT = 8192  # good events that may come again
KEEP_EVERY = 4  # of the good ones, so that what is kept reaches further back
MEMORY_MS = 20 * HOUR_MS  # a duplicate comes while ids are surely remembered: 24 h after the hour (decision 13)
SECONDS_CACHED = 50_000
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = tuple(high + low for high in LETTERS for low in LETTERS)


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
class UsageSpec:
    """What the stream is like. Moments in UTC milliseconds; shares are of all records.

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

    def __post_init__(self) -> None:
        assert self.start_ms <= self.end_ms
        assert self.teams > 0
        assert self.late + self.duplicates + self.bad <= 1


def history(spec: UsageSpec) -> Iterator[int]:
    """The moment of each of the spec's events, from its start to its end."""
    span, last = spec.end_ms - spec.start_ms, max(1, spec.events - 1)
    return (spec.start_ms + span * index // last for index in range(spec.events))


def usage_stream(spec: UsageSpec, times: Iterable[int] | None = None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it is sent, `history(spec)` by default."""
    rng = Random(spec.seed)
    build = _builder(spec, rng)
    roll, jitter = rng.random, _jitters(rng)
    bad, duplicates, late = spec.bad, spec.bad + spec.duplicates, spec.bad + spec.duplicates + spec.late
    kept = _Kept()
    for number, now_ms in enumerate(history(spec) if times is None else times):
        dice = roll()
        if dice < duplicates and kept.sent:
            yield _poisoned(spec, rng, kept, now_ms) if dice < bad else _again(rng, kept, now_ms)
        elif duplicates <= dice < late:
            yield SimulatedRecord(*build(_closed_ms(rng, now_ms - spec.grace_ms)), Kind.LATE)
        else:
            at_ms = now_ms - jitter[number % DRAWS]
            key, value = build(at_ms)
            if not number % KEEP_EVERY:
                kept.keep(at_ms, key, value)
            yield SimulatedRecord(key, value, Kind.GOOD)


class _Kept:
    """Good events that were sent, the newest `KEPT` of every fourth."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes, bytes]] = []
        self._next = 0

    def keep(self, at_ms: int, key: bytes, value: bytes) -> None:
        if len(self.sent) < KEPT:
            self.sent.append((at_ms, key, value))
        else:
            self.sent[self._next] = (at_ms, key, value)
        self._next = (self._next + 1) % KEPT

    def one(self, rng: Random, after_ms: int) -> tuple[int, bytes, bytes]:
        chosen = self.sent[rng.randrange(len(self.sent))]
        return chosen if chosen[0] > after_ms else self.sent[self._next - 1]


def _again(rng: Random, kept: _Kept, now_ms: int) -> SimulatedRecord:
    _, key, value = kept.one(rng, now_ms - MEMORY_MS)
    if rng.random() < CONFLICT_SHARE:
        other = value.replace(b'"latency_ms":', b'"latency_ms":1', 1)
        return SimulatedRecord(key, other, Kind.CONFLICTING, Reason.CONFLICTING_DUPLICATE)
    return SimulatedRecord(key, value, Kind.DUPLICATE)


def _poisoned(spec: UsageSpec, rng: Random, kept: _Kept, now_ms: int) -> SimulatedRecord:
    at_ms, key, value = kept.one(rng, now_ms - MEMORY_MS)
    own_id = event_id(at_ms, rng.randbytes(RANDOM_BYTES)).encode()
    at = value.index(b"evt_")
    sound = Sound(key, value[:at] + own_id + value[at + len(own_id) :], at_ms, max(now_ms, spec.end_ms))
    poison = rng.choice(POISONS)
    return SimulatedRecord(*poison.spoil(sound, rng), Kind.BAD, poison.reason, poison.name)


def _closed_ms(rng: Random, open_ms: int) -> int:
    """A moment in an hour that ended before `open_ms`, mostly one of the last."""
    hours_back = rng.randint(1, 12 if rng.random() < NEAR_LATE_SHARE else LATE_HOURS_MAX)
    return (open_ms - DISORDER_MS_MAX) // HOUR_MS * HOUR_MS - hours_back * HOUR_MS + rng.randrange(HOUR_MS)


def _jitters(rng: Random) -> tuple[int, ...]:
    return tuple(min(DISORDER_MS_MAX, int(rng.expovariate(1 / 2_000))) for _ in range(DRAWS))


def _builder(spec: UsageSpec, rng: Random) -> Callable[[int], tuple[bytes, bytes]]:
    """Moment → key and value of a new good event. Text is put together, not encoded: that is ten times faster."""
    team_draws = draws(rng, teams(rng, spec.teams, spec.directory), zipf(spec.teams))
    model_draws = draws(rng, MODELS, [model.weight for model in MODELS])
    outcome_draws = draws(rng, OUTCOMES, [outcome.weight for outcome in OUTCOMES])
    prompts, completions = token_table(rng, 420, 1.2), token_table(rng, 210, 1.0)
    ids, stamp, bits = _ids(rng), _stamps(), rng.getrandbits

    def build(at_ms: int) -> tuple[bytes, bytes]:
        team, model, outcome = next(team_draws), next(model_draws), next(outcome_draws)
        dice = bits(48)
        prompt = prompts[dice & 4095]
        completion = completions[dice >> 12 & 4095] * outcome.completion_percent // 100 if model.completion_price else 0
        cost = (prompt * model.prompt_price + completion * model.completion_price) * outcome.cost_percent // 100
        whole, fraction = divmod(cost, PICO)
        id_time, second, ms = stamp(at_ms)
        id_rest = next(ids)
        return team.key, (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{id_time}{id_rest}","type":"llm.usage.completed",'
            f'"source":"llm-gateway","timestamp":"{second}{ms:03d}Z",{team.heads[(dice >> 24) % 100]}{id_rest}",'
            f'"model":"{model.name}","provider":"{model.provider}","prompt_tokens":{prompt},'
            f'"completion_tokens":{completion},"total_tokens":{prompt + completion},'
            f'"latency_ms":{90 + completion * model.token_ms + (dice >> 36)},"cost_usd":{whole}.{fraction:012d},'
            f'"user_id":"user_{dice >> 30 & 1023}{team.tail}{outcome.tail}}}}}'
        ).encode()

    return build


def _ids(rng: Random) -> Iterator[str]:
    """The random 16 letters of ULIDs, no two alike."""
    while True:
        head = event_id(0, rng.randbytes(RANDOM_BYTES))[-16:-2]
        for pair in PAIRS:
            yield head + pair


def _stamps() -> Callable[[int], tuple[str, str, int]]:
    """Moment → the ten letters of a ULID's time, the timestamp up to its milliseconds, these."""
    seconds: dict[int, str] = {}
    spans: dict[int, str] = {}

    def stamp(at_ms: int) -> tuple[str, str, int]:
        second, ms = divmod(at_ms, 1000)
        text, span = seconds.get(second), spans.get(at_ms >> 10)
        if text is None or span is None:
            if len(seconds) > SECONDS_CACHED:
                seconds.clear()
                spans.clear()
            text = seconds[second] = format_ms(second * 1000)[:-4]
            span = spans[at_ms >> 10] = event_id(at_ms, bytes(RANDOM_BYTES))[4:12]
        return span + PAIRS[at_ms & 1023], text, ms

    return stamp
