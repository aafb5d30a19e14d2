"""Bodies that nobody should send: JSON of every shape, in every wrapping, often damaged."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from urllib.parse import urlencode

from capture_calls import TOKEN
from hypothesis import strategies as st

KEYS = [
    *("event", "distinct_id", "$distinct_id", "properties", "timestamp", "offset", "uuid", "api_key", "token"),
    *("$token", "$set", "$set_once", "batch", "sent_at", "historical_migration", "$session_id", "$ignore_sent_at"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [TOKEN, "2026-11-18T11:06:35Z", "1794996400", "019a95b0-7c1b-7a3f-8d2e-1f2a3b4c5d6e", "\0", "\ud800"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=10,
)
EVENTS = st.fixed_dictionaries(
    {"event": st.text(max_size=250) | JSON, "distinct_id": SCALARS},
    optional=dict.fromkeys(("properties", "timestamp", "offset", "uuid", "$set", "$set_once"), JSON),
)
BODIES = (
    JSON
    | EVENTS.map(lambda event: {**event, "api_key": TOKEN})
    | st.lists(EVENTS | JSON, max_size=6).map(lambda events: {"api_key": TOKEN, "batch": events})
)
WRAPPINGS = st.sampled_from(
    [
        lambda raw: raw,
        gzip.compress,
        b64encode,
        lambda raw: b64encode(gzip.compress(raw, mtime=0)),
        lambda raw: urlencode({"data": raw}).encode(),
        lambda raw: urlencode({"data": b64encode(raw)}).encode(),
    ]
)


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """JSON in its wrappings, often damaged somewhere, or no JSON at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    raw = json.dumps(draw(BODIES), ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    raw = bytes(draw(WRAPPINGS)(raw))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + draw(st.integers(0, 3)) :]
    return raw
