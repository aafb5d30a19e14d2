"""Random logs of metered calls around a clock that moves on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from rpc_log import METERING, value
from usage_log import Rec, at

from tables.window import HOUR_MS, MINUTE_MS

MORE: list[dict[str, Any]] = [{}, {}, {}, {"free_tier": True}, {"status": "error"}, {"chain": "base"}]
START = at("2025-01-31T21:00")


@st.composite
def logs(draw: st.DrawFn, jump_ms: int = 4 * HOUR_MS) -> list[Rec]:
    """Calls around a clock that moves on: late, right on marks, repeated, contradicting, broken, keyless, free."""
    now_ms, log = START, list[Rec]()
    for number in range(draw(st.integers(1, 40))):
        now_ms += draw(st.sampled_from([0, 1, 30_000, 5 * MINUTE_MS, 20 * MINUTE_MS, jump_ms]))
        ago_ms = draw(st.sampled_from([0, 0, 0, 1, 7 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS]))
        at_ms = max(now_ms - ago_ms - draw(st.sampled_from([0, now_ms % (5 * MINUTE_MS)])), START)
        agent = draw(st.sampled_from(["agent_a", "agent_b"]))
        more = draw(st.sampled_from(MORE))
        content = value(
            f"id-{number}",
            at_ms,
            agent,
            consumer=draw(st.sampled_from(["consumer_c", "consumer_d"])),
            method=draw(st.sampled_from(["chat.send", "memory.search"])),
            quantity=draw(st.sampled_from([0, 1, 1, 40])),
            price=draw(st.sampled_from(["0.001", "0.05", "0.1", "0.000000000001", "24999999999999999.999999999999"])),
            currency=draw(st.sampled_from(["AI", "AI", "USDC"])),
            **more,
        )
        record = Rec(agent.encode(), content, now_ms, topic=METERING)
        kind = draw(st.sampled_from(["usual"] * 8 + ["repeated", "repeated", "other bytes", "broken", "keyless"]))
        if kind == "repeated" and log:
            record = replace(draw(st.sampled_from(log)), timestamp=now_ms)
        elif kind == "other bytes" and log:
            old = draw(st.sampled_from(log))
            other = (old.value or b"").replace(b'"bot-gateway"', b'"elsewhere"')
            record = replace(old, value=other, timestamp=now_ms)
        elif kind == "broken":
            record = replace(record, value=content[:-1])
        elif kind == "keyless":
            record = replace(record, key=None)
        log.append(replace(record, offset=number))
    end_ms = now_ms + 5 * HOUR_MS  # closes every hour, whatever the rules
    last = Rec(b"agent_a", value("last", end_ms, "agent_a", "org_last"), end_ms, offset=len(log), topic=METERING)
    return [*log, last]
