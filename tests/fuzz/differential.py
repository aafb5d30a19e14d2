"""The compiled lanes against the models: one random log in the same chunks, once with a lane and once without.

`PYTHONPATH=.:tests python tests/fuzz/differential.py SECONDS [SEED]`. A difference in verdict, amount, key, digest or
row ends it with 1 and names the seed of the log, which is all that is needed to see it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from time import monotonic, time_ns
from typing import Any

import rpc_log
from latency_log import LatencyTable
from plain_open_calls import PlainCalls
from rpc_log import Calls
from usage_log import Rec, Table, at, value, without_lane

from streamapp.meters.calls import rpc_codec
from streamapp.meters.latency import codec as latency_codec
from streamapp.meters.usage.store import USAGE as usage_rows
from streamapp.store.rows import Store
from tables.window import HOUR_MS, MINUTE_MS, Rules

RULES = Rules(retention_ms=3 * HOUR_MS, remember_ms=HOUR_MS)
START_MS = at("2025-01-31T21:00")
TEXTS = ("gpt-4o", "m", "x" * 256, "x" * 257, "", "a b", "modèle", "\\u0061", "nul\\u0000", "~")
AMOUNTS = ("0", "0.001", "1e-12", "1E2", "-0", "-1", "0.0000000000001", "0.0016150000000000001", "1.", "01", "1e400")
COUNTS = (0, 1, 10**9, 10**9 + 1, 10**12)
MORE = (
    '"latency_ms":1.5',
    '"latency_ms":-3',
    '"ttft_ms":1e3',
    '"latency_ms":"9"',
    '"stream":null',
    '"x":[{"y":"\\ud83d"}]',
)
Log = list[Rec]
Readable = Callable[[bytes, bytes], tuple[Any, Any]]


def usage(rng: Random, number: int, at_ms: int) -> bytes:
    """An event of usage, mostly a good one."""
    odd = rng.random() < 0.3
    cost = rng.choice(AMOUNTS) if odd else f"{rng.randrange(10)}.{rng.randrange(10**12):012}"
    model = rng.choice(TEXTS) if odd else f"m{rng.randrange(5)}"
    counts = (rng.choice(COUNTS), rng.choice(COUNTS)) if odd else (rng.randrange(5000), rng.randrange(5000))
    org = rng.choice(["org_a", "org_b", None]) if odd else "org_a"
    return value(
        f"id-{number}",
        at_ms,
        rng.choice(["team_a", "team_b"]),
        org,
        cost=cost,
        prompt=counts[0],
        completion=counts[1],
        model=model,
        currency=rng.choice(["USD", "AI", "usd"]) if odd else "USD",
        status=rng.choice(["success", "error", "timeout", "odd"]),
        cache_hit=rng.random() < 0.5,
        more=rng.choice(MORE) if odd else rng.choice(["", '"latency_ms":12.5,"stream":true']),
    )


def call(rng: Random, number: int, at_ms: int) -> bytes:
    """A metered call, mostly a good one."""
    odd = rng.random() < 0.3
    amount = rng.choice(AMOUNTS) if odd else f"0.{rng.randrange(10**12):012}"
    return rpc_log.value(
        f"id-{number}",
        at_ms,
        rng.choice(["agent_a", "agent_b"]),
        rng.choice(["org_a", None]) if odd else "org_a",
        price=amount,
        quantity=rng.choice(COUNTS) if odd else rng.randrange(100),
        method=rng.choice(TEXTS) if odd else f"method-{rng.randrange(4)}",
    )


def damaged(rng: Random, content: bytes) -> bytes:
    """One byte changed, cut out or put in."""
    where = rng.randrange(len(content))
    byte = rng.choice([rng.randrange(256), *b'"\\{}[],:0. '])
    kind = rng.randrange(3)
    return content[:where] + (b"" if kind == 0 else bytes([byte])) + content[where + (kind != 2) :]


def log_of(rng: Random, make: Callable[[Random, int, int], bytes], keys: tuple[bytes, ...]) -> Log:
    """Records around a clock that moves on: late, repeated, contradicting, damaged, at home elsewhere."""
    now_ms, log = START_MS, Log()
    for number in range(rng.randrange(1, 60)):
        now_ms += rng.choice([*[0, 1, 1000, 30_000] * 6, 5 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS])
        at_ms = max(START_MS, now_ms - rng.choice([*[0] * 12, 1, 1000, 7 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS]))
        content = make(rng, number, at_ms)
        key = next((key for key in keys if b'"' + key + b'"' in content), keys[0])
        kind = rng.randrange(20)
        if kind < 3 and log:
            content, key = rng.choice(log).value or b"", rng.choice(log).key or keys[0]
            key = next((one for one in keys if b'"' + one + b'"' in content), key)
            content = content if kind else content.replace(b'"success"', b'"error"')
        elif kind < 7:
            content = damaged(rng, content)
        elif kind == 7:
            key = rng.choice(keys)
        log.append(Rec(key, content, now_ms, offset=number))
    end_ms = now_ms + 5 * HOUR_MS
    return [*log, Rec(keys[0], make(Random(0), len(log), end_ms), end_ms, offset=len(log))]


def rows(store: Store, readable: Readable) -> dict[Any, Any]:
    """Every stored row as it reads: the order within a map says nothing. What ids are under was compared before."""
    return dict(readable(key, row) for key, row in store.scan(b"b", b"z") if key[:1] not in b"cu")


def said(outcome: Any) -> Any:
    """What was refused, and how many counted."""
    refusals = [(one.record.offset, one.reason, one.error) for one in outcome.refusals]
    return refusals, outcome.duplicates, outcome.accepted, outcome.ids


def ledger(lane: bool) -> Any:
    table = Table(RULES)
    if not lane:
        without_lane(table)
    return table


def latency(lane: bool) -> Any:
    return LatencyTable(RULES, lane=lane)


def calls(lane: bool) -> Any:
    table = Calls(RULES)
    if not lane:
        table.task.memory.lane = PlainCalls()
    return table


USAGE, CALLS = (usage, (b"team_a", b"team_b")), (call, (b"agent_a", b"agent_b"))
TABLES = {
    "ledger": (ledger, USAGE, usage_rows.readable),
    "latency": (latency, USAGE, latency_codec.LATENCY.readable),
    "calls": (calls, CALLS, rpc_codec.RPC.readable),
}


def differs(seed: int) -> str | None:
    """What is not the same with the lane and without, of the log that this seed gives; None: nothing."""
    for name, (table_of, (make, keys), readable) in TABLES.items():
        rng = Random(f"{name} {seed}")
        log = log_of(rng, make, keys)
        cuts = sorted({0, len(log), *(rng.randrange(len(log)) for _ in range(rng.randrange(4)))})
        with_lane, without = table_of(True), table_of(False)
        for begin, end in pairwise(cuts):
            outcomes = [table.apply(*map(replace, log[begin:end])) for table in (with_lane, without)]
            if said(outcomes[0]) != said(outcomes[1]):
                return (
                    f"{name}: records {begin} to {end}: {said(outcomes[0])} with the lane, {said(outcomes[1])} without"
                )
        if rows(with_lane.store, readable) != rows(without.store, readable):
            return f"{name}: the stored rows differ"
    return None


def main() -> int:
    seconds = float(sys.argv[1])
    first = int(sys.argv[2]) if len(sys.argv) > 2 else time_ns() % 10**9
    end_s, seed = monotonic() + seconds, first
    while monotonic() < end_s:
        found = differs(seed)
        if found:
            again = f"PYTHONPATH=.:tests .venv/bin/python tests/fuzz/differential.py 1 {seed}"
            print(f"seed {seed}: {found}\nagain: {again}", file=sys.stderr)
            return 1
        seed += 1
    print(f"differential: {seed - first} logs of each table from seed {first} on, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
