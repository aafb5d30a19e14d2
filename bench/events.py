"""The benchmark's input: usage events as the standard's sample, the same bytes for the same shape on every machine.

Event time advances evenly over the hours, disordered by less than the grace of five minutes, so that nobody has to
drop or revise anything and every contender has one right answer. The last record of every partition lies past the end
of the last hour: it closes the hours for whoever closes them by event time.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from streamapp.topics.partitioner import partition_for

PARTITIONS = 8
HOURS = 6
HOUR_MS = 3_600_000
BASE_MS = 1_736_899_200_000  # 2025-01-15T00:00:00Z
END_MS = BASE_MS + HOURS * HOUR_MS
CLOSING_MS = END_MS + 10 * 60_000
DISORDER_MS = 120_000
TEAMS_PER_ORG = 10
EURO_ORGS = 16  # every 16th org pays half of its calls in EUR
CLOSING_ORG = 99_999
CHUNK = 10_000  # random numbers drawn at a time

# (provider, model, price of a prompt token, of a completion token), prices in 1e-9 of the currency
MODELS = (
    ("together", "zen-72b", 900, 900),
    ("together", "zen-8b", 180, 180),
    ("anthropic", "claude-sonnet", 3_000, 15_000),
    ("anthropic", "claude-haiku", 800, 4_000),
    ("openai", "gpt-large", 2_500, 10_000),
    ("openai", "gpt-small", 150, 600),
    ("fireworks", "llama-70b", 900, 900),
    ("groq", "llama-8b", 50, 80),
)

TEMPLATE = (
    '{"schema":"hanzo.stream.v1","id":"evt_%s","type":"llm.usage.completed","source":"llm-gateway",'
    '"timestamp":"%s","team_id":"%s","org_id":"%s","data":{"request_id":"req_%016x","model":"%s",'
    '"provider":"%s","prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"latency_ms":%d,"cost_usd":%s,'
    '"user_id":"user_%06d","api_key_hash":"sha256:%016x","cache_hit":%s,"stream":%s,"status":"%s",'
    '"currency":"%s"}}'
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every byte of the input. `events` does not count the closing records, one per partition.

    `hours` of event time; the closing records, and so a whole run, belong to the usual six.
    """

    events: int
    teams: int = 1_000
    seed: int = 1
    hours: int = HOURS

    @property
    def name(self) -> str:
        """A file name for everything made from this shape."""
        return f"{self.events}-events-{self.teams}-teams-seed-{self.seed}"

    @property
    def records(self) -> int:
        """Records on the topic."""
        return self.events + PARTITIONS


@dataclass(frozen=True, slots=True)
class Event:
    """A record of the topic: `at_ms` is the event's time, and the record's timestamp."""

    key: str
    at_ms: int
    value: str


def generate(shape: Shape) -> Iterator[Event]:
    """The events in the order they were produced, then the closing records."""
    rng = random.Random(shape.seed)
    teams = [f"team_{number:06d}" for number in range(shape.teams)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, shape.teams + 1)))
    stamps = Stamps()
    step_ms = shape.hours * HOUR_MS / shape.events
    for start in range(0, shape.events, CHUNK):
        count = min(CHUNK, shape.events - start)
        picked = rng.choices(range(shape.teams), cum_weights=weights, k=count)
        for number, team in enumerate(picked, start):
            at_ms = max(BASE_MS, BASE_MS + int(number * step_ms) - rng.getrandbits(20) * DISORDER_MS // (1 << 20))
            yield Event(teams[team], at_ms, _usage(rng, stamps.text(at_ms), teams[team], team // TEAMS_PER_ORG))
    for key in closing_keys():
        yield Event(key, CLOSING_MS, _usage(rng, stamps.text(CLOSING_MS), key, CLOSING_ORG))


def closing_keys() -> tuple[str, ...]:
    """One team for each partition, in their order."""
    found: dict[int, str] = {}
    for number in itertools.count():
        key = f"team_closing_{number}"
        found.setdefault(partition_for(key.encode(), PARTITIONS), key)
        if len(found) == PARTITIONS:
            return tuple(found[partition] for partition in range(PARTITIONS))
    raise AssertionError("unreachable")


class Stamps:
    """Milliseconds since the epoch → RFC 3339 with milliseconds; a second is formatted once."""

    def __init__(self) -> None:
        self._seconds: dict[int, str] = {}

    def text(self, at_ms: int) -> str:
        second, ms = divmod(at_ms, 1000)
        head = self._seconds.get(second)
        if head is None:
            head = self._seconds[second] = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{head}.{ms:03d}Z"


def _usage(rng: random.Random, stamp: str, team: str, org: int) -> str:
    bits = rng.getrandbits(128)
    euro = org % EURO_ORGS == EURO_ORGS - 1
    provider, model, prompt_price, completion_price = MODELS[bits & 7]
    prompt = 20 + (bits >> 3 & 2047)
    completion = 1 + (bits >> 14 & 1023)
    latency_ms = 80 + (bits >> 24 & 4095)
    few = bits >> 36 & 255
    return TEMPLATE % (
        f"01JHK{few & 31:05d}{rng.getrandbits(64):016X}",
        stamp,
        team,
        f"org_{org:05d}",
        bits >> 64,
        model,
        provider,
        prompt,
        completion,
        prompt + completion,
        latency_ms,
        cost_text(prompt * prompt_price + completion * completion_price),
        bits >> 44 & 65535,
        bits >> 40 & (1 << 64) - 1,
        "true" if few < 26 else "false",
        "true" if few & 1 else "false",
        "success" if few >= 8 else "error",
        "EUR" if euro and few & 1 else "USD",
    )


def cost_text(nano: int) -> str:
    """Billionths → a JSON number without superfluous zeros."""
    whole, part = divmod(nano, 10**9)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
