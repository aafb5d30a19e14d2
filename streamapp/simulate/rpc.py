"""A realistic stream of `agent_rpc_metering` (decision 15), reproducible to the byte like `simulate.usage_stream`.

Agents work for the teams of the same platform, busiest first; a few consumers make most of an agent's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from streamapp.schemas.judging.rejected import Reason
from streamapp.simulate.poison import (
    BROKEN,
    IN_FUTURE,
    NO_MOMENT,
    TOO_LATE,
    WRONG_KEY,
    Poison,
    Sound,
    sub,
)
from streamapp.simulate.stream import SimulatedRecord, Source, StreamSpec, stream
from streamapp.simulate.text import ids, stamps
from streamapp.simulate.world import Tenants, Text, draws, owner, tenants, token_table, zipf

LATE_HOURS_MAX = 6 * 24  # the topic keeps seven days
OTHER = b'"quantity":', b'"quantity":1'
CONSUMERS_PER_AGENT_MAX = 24
OTHER_CURRENCY_EVERY = 6  # of agents: one is paid in USDC, the next one in LUX, the others in AI
FREE_EVERY = 8  # of an agent's consumers: one is on its free tier
HEADS = 50  # variants of an agent's owner; one of them is chosen by each event
ORGLESS_HEADS = 1
UNLISTED = b'"team_id":"team_unlisted",'


class Method(NamedTuple):
    """What an agent offers: its unit, its price as a decimal text, how popular it is."""

    name: str
    unit: str
    price: str
    weight: int


METHODS: tuple[Method, ...] = (
    Method("chat.send", "per_request", "0.001", 32),
    Method("chat.stream", "per_request", "0.0015", 16),
    Method("tools.invoke", "per_request", "0.0005", 16),
    Method("memory.search", "per_request", "0.00025", 10),
    Method("chat.complete", "per_token", "0.000002", 12),
    Method("embeddings.create", "per_token", "0.000000020371", 8),
    Method("agent.delegate", "per_request", "0.02", 4),
    Method("image.generate", "per_request", "0.04", 2),
)


ENDINGS = (  # how a call ended, as the text of its fields
    Text('"status":"success","free_tier":false', 90),
    Text('"status":"error","free_tier":false', 4),
)
FREE = '"status":"success","free_tier":true'


class Agent(NamedTuple):
    """An agent as the bytes of its events."""

    key: bytes
    heads: tuple[str, ...]
    consumers: tuple[str, ...]
    tail: str


def rpc_stream(spec: StreamSpec, times: Iterable[int] | None = None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it is sent; `spec.teams` is also how many agents there are."""
    rng = Random(f"agent_rpc_metering/{spec.seed}")
    builder = _builder(_agents(rng, tenants(Random(spec.seed), spec.teams, spec.directory)), rng)
    return stream(Source(builder, OTHER, Reason.CONFLICTING_DUPLICATE, POISONS, LATE_HOURS_MAX), spec, rng, times)


def _agents(rng: Random, who: Tenants) -> tuple[Agent, ...]:
    consumers = [f"consumer_{rng.getrandbits(40):010x}" for _ in range(4 * len(who.teams))]
    return tuple(_agent(rng, number, consumers, who) for number in range(len(who.teams)))


def _agent(rng: Random, number: int, consumers: Sequence[str], who: Tenants) -> Agent:
    team, org = who.teams[number]
    name = f"agent_{rng.getrandbits(40):010x}"
    orgless = ORGLESS_HEADS if team in who.listed else 0
    heads = [owner(team, None)] * orgless + [owner(team, org)] * (HEADS - orgless)
    own = tuple(rng.choices(consumers, k=rng.randint(1, CONSUMERS_PER_AGENT_MAX)))
    currency = {OTHER_CURRENCY_EVERY - 2: "USDC", OTHER_CURRENCY_EVERY - 1: "LUX"}.get(
        number % OTHER_CURRENCY_EVERY, "AI"
    )
    chain = ',"chain":"lux","chain_id":96369' if currency == "LUX" else ""
    tail = f'"currency":"{currency}","agent_wallet":"0x{rng.getrandbits(160):040x}"{chain}'
    return Agent(name.encode(), tuple(heads), own, tail)


def _builder(agents: Sequence[Agent], rng: Random) -> Callable[[int], tuple[bytes, bytes]]:
    """Moment → key and value of a new good event."""
    agent_draws = draws(rng, agents, zipf(len(agents)))
    method_draws = draws(rng, METHODS)
    ending_draws = draws(rng, ENDINGS)
    tokens = token_table(rng, 300, 1.1)
    id_rests, stamp, bits = ids(rng), stamps(), rng.getrandbits

    def build(at_ms: int) -> tuple[bytes, bytes]:
        agent, method, ending = next(agent_draws), next(method_draws), next(ending_draws).text
        dice = bits(48)
        # The product of two dice is mostly small: the first consumers call most.
        place = (dice & 1023) * (dice >> 10 & 1023) * len(agent.consumers) >> 20
        used, quantity = "", 1 if dice >> 20 & 15 else 3
        if method.unit == "per_token":
            prompt, completion = tokens[dice >> 24 & 4095], tokens[dice >> 36]
            used = f',"model":"zen-72b","prompt_tokens":{prompt},"completion_tokens":{completion}'
            quantity = prompt + completion
        id_time, second, ms = stamp(at_ms)
        id_rest = next(id_rests)
        return agent.key, (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{id_time}{id_rest}","type":"agent.rpc.metered",'
            f'"source":"bot-gateway","timestamp":"{second}{ms:03d}Z",{agent.heads[dice % HEADS]}"data":{{'
            f'"agent_id":"{agent.key.decode()}","consumer_id":"{agent.consumers[place]}",'
            f'"method":"{method.name}","request_id":"req_{id_rest}","unit":"{method.unit}",'
            f'"quantity":{quantity},"price":"{method.price}",'
            f"{FREE if place % FREE_EVERY == FREE_EVERY - 1 else ending},"
            f'"latency_ms":{40 + (dice >> 36)}{used},{agent.tail}}}}}'
        ).encode()

    return build


def _unlisted(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
    begin, end = sound.value.index(b'"team_id":'), sound.value.index(b'"data":')
    return sound.key, sound.value[:begin] + UNLISTED + sound.value[end:]


_PRICE = rb'"price":"[^"]*"'

POISONS: tuple[Poison, ...] = (
    *BROKEN,
    NO_MOMENT,
    Poison("another type", Reason.UNKNOWN_TYPE, True, sub(rb"agent\.rpc\.metered", b"agent.rpc.started")),
    Poison("no agent", Reason.INVALID_DATA, True, sub(rb'"agent_id":"[^"]*",', b"")),
    Poison("another unit", Reason.INVALID_DATA, True, sub(rb'"unit":"[^"]*"', b'"unit":"per_minute"')),
    Poison("negative quantity", Reason.INVALID_DATA, True, sub(rb'"quantity":', b'"quantity":-')),
    Poison("half a request", Reason.INVALID_DATA, True, sub(rb'"quantity":[0-9]+', b'"quantity":0.5')),
    Poison("price as number", Reason.INVALID_PRICE, True, sub(_PRICE, b'"price":0.001')),
    Poison("negative price", Reason.INVALID_PRICE, True, sub(_PRICE, b'"price":"-0.001"')),
    Poison("13 decimals", Reason.INVALID_PRICE, True, sub(_PRICE, b'"price":"0.0000000000001"')),
    Poison("NaN", Reason.INVALID_PRICE, True, sub(_PRICE, b'"price":"NaN"')),
    IN_FUTURE,
    TOO_LATE,
    WRONG_KEY,
    Poison("unknown org", Reason.ORG_UNRESOLVED, False, _unlisted),
)
