"""No word of a record stands in a cause: causes are paged, counted and shown. Whoever refuses it, whatever it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from searches import search

from streamapp.kafka.produce.outgoing import prepare
from streamapp.schemas.judging.cause import cause_of, shape
from streamapp.schemas.judging.insights import judge_captured
from streamapp.schemas.judging.judge import judge_metering, judge_usage, read_envelope
from streamapp.schemas.judging.judge_audit import judge_audit
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.judging.usage import Usage
from streamapp.sinks.ledger.rows import to_row
from streamapp.topics import registry
from tables.admission import Admission, unresolved
from tables.cause import quoted
from tables.outcome import Refusal

# Dead letters that no sentence of ours has, and what may end or open a quotation.
LETTERS = "ωψξ"
WORDS = st.text(st.sampled_from([*LETTERS * 3, *"'\"`\\ .,:\n\t@=/é\x00"]), min_size=1, max_size=60) | st.text(
    st.sampled_from([*LETTERS, "'", '"', "\x01", "😀"]), min_size=200, max_size=400
)
FIELDS = (
    "type",
    "id",
    "source",
    "timestamp",
    "team_id",
    "org_id",
    "schema",
    "key",
    "inner key",
    "model",
    "status",
    "lines",
)

Judge = Callable[[bytes], Any]
JUDGES: dict[str, Judge] = {
    "usage": judge_usage,
    "metering": judge_metering,
    "audit": judge_audit,
    "event": read_envelope,
    "captured": judge_captured,
    "ledger": lambda raw: to_row("billing_events", 0, 0, raw),
}
TYPES = {
    "usage": "llm.usage.completed",
    "metering": "agent.rpc.metered",
    "captured": "insights.event.captured",
    "ledger": "billing.rpc.settled",
}


class Rec:
    """A record that came to the wrong place, without a timestamp."""

    def __init__(self, value: bytes, timestamp: int) -> None:
        self.offset, self.timestamp, self.key, self.value = 0, timestamp, b"", value


def tree_of(who: str, where: str, words: str) -> dict[str, Any]:
    data: dict[str, Any] = {"provider": "p", "model": "m", "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 1}
    data |= {"total_tokens": 2, "user_id": "u"}
    tree = {"schema": "hanzo.stream.v1", "id": "evt_1", "type": TYPES.get(who, "iam.user.created"), "source": "s"}
    tree |= {"timestamp": "2026-11-18T10:30:00.123Z", "team_id": "team_a", "org_id": "org_a"}
    if where == "key":
        return {words: words, **tree, "data": data}
    if where == "inner key":
        return {**tree, "data": {**data, "methods": {words: {"count": words}}, words: words}}
    if where in ("model", "status", "lines"):
        return {**tree, "data": {**data, where: words}}
    return {**tree, where: words, "data": data}


def _anywhere(key: Any, owner: str) -> bool:
    return True


def _nowhere(key: Any, owner: str) -> bool:
    return False


def wordless(error: str) -> None:
    found = shape(error)
    assert not set(found) & set(LETTERS), (error, found)
    assert shape(found) == found


@pytest.mark.parametrize("who", JUDGES)
@given(st.sampled_from(FIELDS), WORDS)
@example("type", 'a".private words of a record')
@search(300)
def test_no_judge_lets_a_word_through(who: str, where: str, words: str) -> None:
    verdict = JUDGES[who](json.dumps(tree_of(who, where, words)).encode())
    if isinstance(verdict, Rejected):
        wordless(verdict.error)


@given(WORDS, WORDS, st.sampled_from([-1, 0, 1_700_000_000, 1_700_000_000_000_000]))
@search(300)
def test_no_door_lets_a_word_through(team: str, name: str, timestamp: int) -> None:
    raw = json.dumps({**tree_of("usage", "model", name), "team_id": team}).encode()
    for at_home in (_anywhere, _nowhere):
        admission = Admission(judge_usage, at_home, lambda _: None)
        entered = admission.admit(Rec(raw, timestamp), 300_000)
        if isinstance(entered, Refusal):
            wordless(entered.error)
        elif isinstance(entered, Usage):
            wordless(unresolved(entered))
    wordless(f"event {quoted(name)} was already counted with different content")


@given(st.sampled_from(FIELDS), WORDS, st.sampled_from(["llm_usage", "audit_log", "agent_rpc_metering"]))
@search(200)
def test_no_producer_lets_a_word_through(where: str, words: str, topic: str) -> None:
    tree = tree_of("usage", where, words)
    data: dict[str, Any] = {**tree["data"], words: float("nan")} if where == "lines" else tree["data"]
    made = prepare(
        registry.topic(topic),
        event_id=tree["id"],
        event_type=tree["type"],
        source=tree["source"],
        at_ms=0,
        data=data,
        team_id=tree["team_id"],
        org_id=tree["org_id"],
    )
    if isinstance(made, Rejected):
        wordless(made.error)


def test_ten_texts_are_one_cause() -> None:
    causes = set()
    for n in range(10):
        verdict = judge_usage(json.dumps(tree_of("usage", "type", f'a"{"x" * n}\'.private "words {n}')).encode())
        assert isinstance(verdict, Rejected)
        causes.add(cause_of("llm_usage", "billing-agg", verdict.reason, verdict.error))
    assert len(causes) == 1
    assert causes.pop().shape == "type … is not carried by this topic, which carries llm.usage.completed"


@pytest.mark.parametrize(
    ("error", "one"),
    [
        (
            "an id of 12 bytes at 2025-01-15T10:30:00Z",
            "an id of … bytes at …",
        ),
        ("""team 'it is "mine"' is unknown""", "team … is unknown"),
        ("""type "a" and 'b' are odd""", "type … are odd"),
        ("""an unclosed "quotation of a record""", "an unclosed …"),
    ],
)
def test_what_is_quoted_ends_at_the_last_quote(error: str, one: str) -> None:
    assert shape(error) == one
