"""The platform that a simulated stream comes from: its models with prices, its teams, how calls go. Pure, seeded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

DRAWS = 4096  # drawn at once: one call of `choices` is cheap per item, one per event is not
TOKENS_MAX = 120_000
ORG_SIZE = 5  # teams per org
TWO_ORGS_EVERY = 20  # every n-th team works for two orgs
OTHER_CURRENCY_EVERY = 40  # every n-th team pays in the platform's own currency
HEADS = 100  # so many variants of a team's fields; one of them is chosen by each event
ORGLESS_HEADS = 2


class Model(NamedTuple):
    """A model at a provider. Prices in 1e-12 of the currency per token, margin included; `weight` is its popularity."""

    name: str
    provider: str
    prompt_price: int
    completion_price: int
    token_ms: int
    weight: int


MODELS: tuple[Model, ...] = (
    #     name                  provider     1e-12 per prompt and completion token, ms per token, weight
    Model("zen-72b", "together", 916_650, 916_650, 14, 20),
    Model("zen-32b", "hanzo", 305_551, 611_102, 9, 16),
    Model("zen-coder-32b", "hanzo", 356_477, 712_953, 9, 12),
    Model("zen-embed", "hanzo", 20_371, 0, 0, 9),
    Model("gpt-4o", "openai", 2_546_250, 10_185_000, 11, 10),
    Model("gpt-4o-mini", "openai", 152_775, 611_100, 8, 14),
    Model("o3-mini", "openai", 1_120_350, 4_481_400, 13, 4),
    Model("claude-sonnet-4", "anthropic", 3_055_500, 15_277_500, 15, 11),
    Model("claude-haiku-3.5", "anthropic", 814_800, 4_074_000, 8, 6),
    Model("gemini-2.0-flash", "google", 101_850, 407_400, 5, 8),
    Model("llama-3.3-70b", "groq", 600_915, 804_615, 3, 7),
    Model("llama-3.3-70b", "together", 896_280, 896_280, 12, 5),
    Model("deepseek-v3", "deepseek", 275_000, 1_120_357, 16, 6),
    Model("deepseek-r1", "together", 3_055_533, 7_129_571, 18, 3),
    Model("mistral-large", "mistral", 2_037_001, 6_111_003, 13, 3),
)


class Text(NamedTuple):
    """Some fields of an event, and how often they come."""

    text: str
    weight: int


class Outcome(NamedTuple):
    """How a call ended: `status`, what of its work was done and is billed (per cent), and the text of its fields."""

    completion_percent: int
    cost_percent: int
    tail: str
    weight: int


OUTCOMES: tuple[Outcome, ...] = (
    Outcome(100, 100, '"cache_hit":false,"stream":true', 560),
    Outcome(100, 100, '"cache_hit":false,"stream":false', 260),
    Outcome(100, 100, '"cache_hit":false,"stream":true,"status":"success","ttft_ms":212.5', 60),
    Outcome(100, 10, '"cache_hit":true,"stream":false', 60),
    Outcome(100, 0, '"cache_hit":true,"stream":true', 20),
    Outcome(0, 0, '"cache_hit":false,"stream":false,"status":"error"', 15),
    Outcome(35, 100, '"cache_hit":false,"stream":true,"status":"timeout"', 10),
    Outcome(0, 0, '"cache_hit":false,"stream":false,"status":"rate_limited"', 15),
)


class Team(NamedTuple):
    """A team as the bytes of its events: `heads` are its envelope fields up to the request id, one per variant."""

    key: bytes
    heads: tuple[str, ...]
    tail: str


class Tenants(NamedTuple):
    """Who uses the platform: every team with its org, the busiest first; all orgs; the teams that a directory knows.
    The same seed gives the same tenants to every stream."""

    teams: tuple[tuple[str, str], ...]
    orgs: tuple[str, ...]
    listed: frozenset[str]


def tenants(rng: Random, count: int, directory: Mapping[str, str]) -> Tenants:
    """`count` teams, those of the directory first."""
    listed = sorted(directory)[:count]
    made = [f"team_{rng.getrandbits(32):08x}" for _ in range(count - len(listed))]
    orgs = tuple(f"org_{rng.getrandbits(24):06x}" for _ in range(count // ORG_SIZE + 2))
    homes = ((name, directory.get(name) or orgs[number // ORG_SIZE]) for number, name in enumerate(listed + made))
    return Tenants(tuple(homes), orgs, frozenset(listed))


def teams(rng: Random, who: Tenants) -> tuple[Team, ...]:
    """The tenants as usage names them; those of the directory leave out their org now and then."""
    return tuple(_team(rng, number, name, org, who) for number, (name, org) in enumerate(who.teams))


def draws(rng: Random, things: Sequence[Any], weights: Sequence[float] | None = None) -> Iterator[Any]:
    """An endless stream of things, each as often as its weight says: by default its field `weight`."""
    sums = list(accumulate([thing.weight for thing in things] if weights is None else weights))
    while True:
        yield from rng.choices(things, cum_weights=sums, k=DRAWS)


def zipf(count: int) -> list[float]:
    """Weights of the ranks 1 to `count`: few teams do most of the work."""
    return [1 / rank**1.1 for rank in range(1, count + 1)]


def token_table(rng: Random, median: int, spread: float) -> tuple[int, ...]:
    """Token counts of calls: lognormal, as many small ones and few huge ones."""
    scale = [rng.lognormvariate(0, spread) for _ in range(DRAWS)]
    return tuple(min(TOKENS_MAX, max(1, round(median * each))) for each in scale)


def _team(rng: Random, number: int, name: str, home: str, who: Tenants) -> Team:
    heads = [_head(name, home)] * HEADS
    if number % TWO_ORGS_EVERY == 1:
        heads[: HEADS // 3] = [_head(name, who.orgs[-1])] * (HEADS // 3)
    if name in who.listed:
        heads[-ORGLESS_HEADS:] = [_head(name, None)] * ORGLESS_HEADS
    currency = ',"currency":"AI"' if number % OTHER_CURRENCY_EVERY == OTHER_CURRENCY_EVERY - 1 else ""
    secret, project = f"{rng.getrandbits(128):032x}", f"proj_{rng.getrandbits(24):06x}"
    tail = f'","api_key_hash":"sha256:{secret}","project_id":"{project}"{currency},'
    return Team(name.encode(), tuple(heads), tail)


def _head(team: str, org: str | None) -> str:
    return f'{owner(team, org)}"data":{{"request_id":"req_'


def owner(team: str | None, org: str | None) -> str:
    """The fields of an envelope that say whose it is, those that are known."""
    known = (("team_id", team), ("org_id", org))
    return "".join(f'"{name}":{json.dumps(value)},' for name, value in known if value is not None)
