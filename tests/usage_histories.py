"""Random logs of usage around a clock that moves on."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from usage_log import Rec, at, value

from tables.window import HOUR_MS, MINUTE_MS, Rules

SHORT = Rules(retention_ms=3 * HOUR_MS, remember_ms=HOUR_MS)
FEW = replace(SHORT, names_max=1)  # of two models
LIMITS = {
    "team_a": {"soft": "0.1", "hard": "999999999999999999.9"},
    "team_b": {"hard": "0.000000000002", "soft": "0.2"},
}
START = at("2025-01-31T21:00")
OFFSETS = st.sets(st.integers(1, 40))
MORE = (
    "",
    '"stream":true,"latency_ms":0,"ttft_ms":null',
    '"stream":true,"latency_ms":1250,"ttft_ms":80.5',
    '"stream":false,"latency_ms":99.9995',
    '"stream":null,"latency_ms":300000.001,"ttft_ms":1e-3',
    '"latency_ms":1e300,"ttft_ms":999999999.999',
)


@st.composite
def logs(draw: st.DrawFn, jump_ms: int = 4 * HOUR_MS) -> list[Rec]:
    """Records around a clock that moves on: late, right on marks, repeated, contradicting, broken, keyless."""
    now_ms, log = START, list[Rec]()
    for number in range(draw(st.integers(1, 40))):
        now_ms += draw(st.sampled_from([0, 1, 30_000, 5 * MINUTE_MS, 20 * MINUTE_MS, jump_ms]))
        ago_ms = draw(st.sampled_from([0, 0, 0, 1, 7 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS]))
        at_ms = max(now_ms - ago_ms - draw(st.sampled_from([0, now_ms % (5 * MINUTE_MS)])), START)
        team = draw(st.sampled_from(["team_a", "team_b"]))
        content = value(
            f"id-{number}",
            at_ms,
            team,
            draw(st.sampled_from(["org_a", "org_b"])),
            cost=draw(st.sampled_from(["0", "0.1", "1e-12", "999999999999999999.999999999999"])),
            model=draw(st.sampled_from(["gpt-4o", "o1"])),
            currency=draw(st.sampled_from(["USD", "AI"])),
            status=draw(st.sampled_from(["success", "success", "error", "timeout", "rate_limited"])),
            cache_hit=draw(st.booleans()),
            more=draw(st.sampled_from(MORE)),
        )
        record = Rec(team.encode(), content, now_ms)
        kind = draw(st.sampled_from(["usual"] * 8 + ["repeated", "repeated", "other bytes", "broken", "keyless"]))
        if kind == "repeated" and log:
            record = replace(draw(st.sampled_from(log)), timestamp=now_ms)
        elif kind == "other bytes" and log:
            old = draw(st.sampled_from(log))
            record = replace(old, value=(old.value or b"").replace(b'"gateway"', b'"elsewhere"'), timestamp=now_ms)
        elif kind == "broken":
            record = replace(record, value=content[:-1])
        elif kind == "keyless":
            record = replace(record, key=None)
        log.append(replace(record, offset=number))
    end_ms = now_ms + 5 * HOUR_MS  # closes every hour, whatever the rules
    last = Rec(b"team_a", value("last", end_ms, "team_a", "org_last"), end_ms, offset=len(log))
    return [*log, last]
