"""rpc-billing over metered calls, made like the usage of the main benchmark: settlements held to sums of JSON.

As many agents as the main benchmark has teams, drawn alike; of an agent's three consumers one makes three quarters of
the calls, of eight methods one makes nearly half. Six hours of event time, disordered by less than the grace, so that
no call is late; the last record of each partition closes its hours.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from bench.contender import Records
from bench.events import BASE_MS, CLOSING_MS, DISORDER_MS, END_MS, HOUR_MS, PARTITIONS, Event, Shape, Stamps
from bench.groups.group import GroupBench, answered, ours
from bench.load import ROOM, Prepared, Step, load, read, write
from bench.oracle import Answer, pico
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.topics.partitioner import partition_for

GROUP = "rpc-billing"
TOPIC = "agent_rpc_metering"
CHUNK = 10_000
AGENTS_PER_ORG = 10
MIN_AMOUNT_PICO = 10**11
METHODS = (
    "chat.send",
    "chat.stream",
    "memory.search",
    "memory.store",
    "tools.call",
    "tools.list",
    "agent.plan",
    "agent.run",
)
PRICES = ("0.001", "0.0005", "0.02", "0.000125")

CONSUMERS = (*(0,) * 12, *(1,) * 3, 2)

TEMPLATE = (
    '{"schema":"hanzo.stream.v1","id":"evt_%s","type":"agent.rpc.metered","source":"bot-gateway",'
    '"timestamp":"%s","team_id":"team_%06d","org_id":"org_%05d","data":{"agent_id":"%s","consumer_id":"consumer_%s",'
    '"method":"%s","request_id":"req_%016x","unit":"per_request","quantity":%d,"price":"%s","currency":"%s",'
    '"status":"%s","free_tier":%s,"latency_ms":%d,"model":"zen-72b","prompt_tokens":%d,"completion_tokens":%d,'
    '"chain":"hanzo","chain_id":36963,"agent_wallet":"0x%040x","consumer_wallet":"0x%040x"}}'
)


def prepared(shape: Shape, step: Step) -> Prepared:
    """Make what is not there yet: events, the right answer, the template."""
    room = ROOM / f"{GROUP}-{shape.name}"
    room.mkdir(parents=True, exist_ok=True)
    events, template = room / "events.tsv", room / "broker"
    if not events.exists():
        write(events, shape, step, generate(shape))
    step("computing the right answer", 0, 1)
    expected = answered(room / "oracle.json", lambda: settlements_of(event.value for event in read(events)))
    if not template.exists():
        load(template, events, shape, step, TOPIC)
    return Prepared(shape, template, expected, TOPIC)


def generate(shape: Shape) -> Iterator[Event]:
    """The calls in the order they were made, then the closing ones."""
    rng, stamps = random.Random(shape.seed), Stamps()
    agents = [f"agent_{number:06d}" for number in range(shape.teams)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, shape.teams + 1)))
    step_ms = shape.hours * HOUR_MS / shape.events
    for start in range(0, shape.events, CHUNK):
        count = min(CHUNK, shape.events - start)
        for number, agent in enumerate(rng.choices(range(shape.teams), cum_weights=weights, k=count), start):
            at_ms = max(BASE_MS, BASE_MS + int(number * step_ms) - rng.getrandbits(20) * DISORDER_MS // (1 << 20))
            yield Event(agents[agent], at_ms, _call(rng, stamps.text(at_ms), agents[agent], agent))
    for key in _closing_keys():
        yield Event(key, CLOSING_MS, _call(rng, stamps.text(CLOSING_MS), key, 999_990))


def settlements_of(values: Iterable[str]) -> Answer:
    """(end of the period, org, agent, consumer, currency) → amount, calls, and both by method; the slow way."""
    hours: dict[int, dict[tuple[str, ...], Counter[tuple[str, str]]]] = defaultdict(lambda: defaultdict(Counter))
    for value in values:
        event = json.loads(value)
        at_ms, data = parse_ms(event["timestamp"]), event["data"]
        assert at_ms is not None, value
        account = (event["org_id"], data["agent_id"], data["consumer_id"], data["currency"])
        charged = data["status"] == "success" and not data["free_tier"]
        sums = hours[at_ms - at_ms % HOUR_MS][account]
        sums["calls", data["method"]] += 1
        sums["cost", data["method"]] += pico(data["price"]) * data["quantity"] * charged
    pending: dict[tuple[str, ...], Counter[tuple[str, str]]] = defaultdict(Counter)
    settled = {}
    for hour in range(BASE_MS, END_MS, HOUR_MS):
        for who, sums in hours[hour].items():
            pending[who].update(sums)
        for who, sums in list(pending.items()):
            if _total(sums, "cost") >= MIN_AMOUNT_PICO:
                settled[hour + HOUR_MS, *who] = _row(pending.pop(who))
    return settled


def answer(records: Records) -> Answer:
    """The settlements on billing_events; a repeated one would be a difference in the number of records."""
    settled: dict[tuple[object, ...], list[object]] = {}
    for record in records("billing_events"):
        event = json.loads(record.value or b"")
        data = event["data"]
        key = (parse_ms(data["period_end"]), event["org_id"], data["agent"], data["consumer"], data["currency"])
        sums: Counter[tuple[str, str]] = Counter()
        for method, one in data["methods"].items():
            sums["calls", method] = one["count"]
            sums["cost", method] = pico(one["cost"])
        settled[key] = _row(sums) if key not in settled else ["settled twice"]
    return settled


def _row(sums: Counter[tuple[str, str]]) -> list[object]:
    methods = sorted([*name, count] for name, count in sums.items() if count)
    return [_total(sums, "cost"), _total(sums, "calls"), methods]


def _total(sums: Counter[tuple[str, str]], what: str) -> int:
    return sum(count for name, count in sums.items() if name[0] == what)


def _call(rng: random.Random, stamp: str, agent: str, number: int) -> str:
    bits = rng.getrandbits(128)
    consumer = number * 3 + CONSUMERS[bits & 15]
    org, few = number // AGENTS_PER_ORG, bits >> 36 & 255
    return TEMPLATE % (
        f"01JHK{few & 31:05d}{rng.getrandbits(64):016X}",
        stamp,
        number,
        org,
        agent,
        f"{consumer:07d}",
        METHODS[(bits >> 4 & 7) & (bits >> 7 & 7)],
        bits >> 64,
        1 + (bits >> 14 & 3),
        PRICES[bits >> 24 & 3],
        "USDC" if number % 16 == 15 and few & 1 else "AI",
        "success" if few >= 8 else "error",
        "true" if 8 <= few < 26 else "false",
        80 + (bits >> 24 & 4095),
        20 + (bits >> 3 & 2047),
        1 + (bits >> 14 & 1023),
        number,
        consumer,
    )


def _closing_keys() -> tuple[str, ...]:
    """One agent for each partition, in their order."""
    found: dict[int, str] = {}
    for number in itertools.count():
        key = f"agent_closing_{number}"
        found.setdefault(partition_for(key.encode(), PARTITIONS), key)
        if len(found) == PARTITIONS:
            return tuple(found[partition] for partition in range(PARTITIONS))
    raise AssertionError("unreachable")


RPC_BILLING = GroupBench(
    GROUP,
    prepared,
    (ours(GROUP, "streamapp.agents.rpc_billing", "settlements: exactly once, duplicates removed", answer),),
)
