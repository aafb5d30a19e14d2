"""The streams of all topics: one set of dice, reproducible to the byte, each event what its topic carries."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import Any

import pytest
from pydantic import ValidationError

from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.envelope import Envelope
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.simulate import poison as simulate_poison
from streamapp.simulate.stream import HOUR_MS, Kind, SimulatedRecord, StreamSpec, history
from streamapp.simulate.topics import STREAMS, Simulated, mixed
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import EVENT_TOPICS, EVERY_GROUP, GROUPS, topic, writers

NOW_MS = 1_763_900_000_000
SPEC = StreamSpec(NOW_MS - 12 * HOUR_MS, NOW_MS, events=6_000, bad=0.05, late=0.02, duplicates=0.05)
SHARES = sum(one.share for one in STREAMS)
SECRET = re.compile(r'"(password|token|secret)":"hush-')
USAGE_SHA_256 = "2ef8ff5d8c01299bc83c1fe8dc1b238ac87354223d870e64f5d708bc70c037c7"


@pytest.fixture(params=STREAMS, ids=lambda one: one.topic)
def one(request: pytest.FixtureRequest) -> Simulated:
    stream = request.param
    assert isinstance(stream, Simulated)
    return stream


@cache
def records(one: Simulated) -> list[SimulatedRecord]:
    return list(one.stream(SPEC, history(SPEC)))


def stream(name: str) -> Simulated:
    return next(one for one in STREAMS if one.topic == name)


def events(one: Simulated, *kinds: Kind) -> list[dict[str, Any]]:
    wanted = kinds or (Kind.GOOD, Kind.LATE)
    return [json.loads(record.value or b"", parse_float=Decimal) for record in records(one) if record.kind in wanted]


def test_every_topic_that_others_write_is_simulated() -> None:
    ours = {group.name for group in GROUPS} | {EVERY_GROUP}
    foreign = {each.name for each in EVENT_TOPICS if not ours & set(writers(each.name))}
    assert {one.topic for one in STREAMS} == foreign


def test_a_spec_gives_the_same_bytes_and_another_seed_others(one: Simulated) -> None:
    assert list(one.stream(SPEC, history(SPEC))) == records(one)
    assert list(one.stream(replace(SPEC, seed=2), history(SPEC))) != records(one)


def test_the_bytes_of_usage_are_those_of_every_earlier_run() -> None:
    digest = sha256()
    for record in stream("llm_usage").stream(replace(SPEC, events=20_000), history(replace(SPEC, events=20_000))):
        digest.update(repr(record).encode())
    assert digest.hexdigest() == USAGE_SHA_256


def test_good_events_have_the_envelope_and_the_key_of_their_topic(one: Simulated) -> None:
    key = topic(one.topic).key
    good = [record for record in records(one) if record.kind in (Kind.GOOD, Kind.LATE)]
    for record, event in zip(good, events(one), strict=True):
        Envelope.model_validate(event)
        assert (event["data"] if key == "agent_id" else event)[key].encode() == record.key
        assert record.reason is None
    used = {partition_for(record.key, topic(one.topic).partitions) for record in good}
    assert used == set(range(topic(one.topic).partitions))


def test_ids_are_all_different_on_all_topics() -> None:
    ids = [event["id"] for one in STREAMS for event in events(one)]
    assert len(set(ids)) == len(ids)


def test_every_kind_comes_in_about_its_share(one: Simulated) -> None:
    counts = Counter(record.kind for record in records(one))
    assert sum(counts.values()) == SPEC.events
    assert counts[Kind.BAD] == pytest.approx(300, rel=0.3)
    assert counts[Kind.LATE] == pytest.approx(120, rel=0.4)
    assert counts[Kind.DUPLICATE] > counts[Kind.CONFLICTING] > 0


def test_a_duplicate_repeats_bytes_and_a_conflict_only_the_id(one: Simulated) -> None:
    seen = {json.loads(record.value or b"")["id"]: record for record in records(one) if record.kind is Kind.GOOD}
    for record in records(one):
        if record.kind in (Kind.DUPLICATE, Kind.CONFLICTING):
            first = seen[json.loads(record.value or b"")["id"]]
            assert first.key == record.key
            assert (first.value == record.value) is (record.kind is Kind.DUPLICATE)


def test_late_events_are_of_closed_hours_that_the_topic_still_keeps(one: Simulated) -> None:
    kept_ms = topic(one.topic).retention_ms or 0
    for now_ms, record in zip(history(SPEC), records(one), strict=True):
        if record.kind is Kind.LATE:
            at_ms = parse_ms(json.loads(record.value or b"")["timestamp"])
            assert at_ms is not None
            assert now_ms - kept_ms < at_ms < now_ms - SPEC.grace_ms


def test_every_poison_comes_and_says_why(one: Simulated) -> None:
    bad = [record for record in records(one) if record.kind is Kind.BAD]
    reasons = {poison.name: poison.reason for poison in import_module(one.stream.__module__).POISONS}
    assert {record.name for record in bad} == reasons.keys()
    assert all(record.reason is reasons[record.name] for record in bad)


def whole(value: bytes | None) -> dict[str, Any] | Reason:
    """The event, or why its bytes are none."""
    if not value:
        return Reason.EMPTY_VALUE
    try:
        event = json.loads(value)
    except ValueError:
        return Reason.MALFORMED_JSON
    try:
        Envelope.model_validate(event)
    except ValidationError:
        return Reason.INVALID_ENVELOPE
    assert isinstance(event, dict)
    return event


def test_poison_of_the_envelope_is_refused_by_the_envelope(one: Simulated) -> None:
    shared = {poison.name: poison.reason for poison in (*simulate_poison.BROKEN, simulate_poison.NO_MOMENT)}
    for record in records(one):
        if record.kind is Kind.BAD and record.name in shared:
            assert whole(record.value) is shared[record.name], record
        elif record.kind is not Kind.BAD:
            assert isinstance(whole(record.value), dict)


def is_captured(event: dict[str, Any]) -> bool:
    try:
        EventCaptured.model_validate(event)
    except ValidationError:
        return False
    return True


def test_captured_events_are_what_capture_writes_and_poison_is_not() -> None:
    insights = stream("events_plugin_ingestion")
    for record in records(insights):
        event = whole(record.value)
        assert (isinstance(event, dict) and is_captured(event)) is (record.kind is not Kind.BAD), record
    names = Counter(event["data"]["event"] for event in events(insights))
    assert {"$pageview", "$autocapture", "prompt sent"} <= set(names)
    assert len({event["data"]["uuid"] for event in events(insights, Kind.GOOD)}) == len(events(insights, Kind.GOOD))


def test_calls_have_exact_prices_units_currencies_and_endings() -> None:
    calls = [event["data"] for event in events(stream("agent_rpc_metering"))]
    for call in calls:
        assert Decimal(call["price"]).is_finite()
        assert type(call["quantity"]) is int
        if call["unit"] == "per_token":
            assert call["quantity"] == call["prompt_tokens"] + call["completion_tokens"]
    assert {call["unit"] for call in calls} == {"per_request", "per_token"}
    assert {call["currency"] for call in calls} == {"AI", "USDC", "LUX"}
    assert {call["status"] for call in calls} == {"success", "error"}
    assert {call["free_tier"] for call in calls} == {True, False}
    prices: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        prices[call["method"]].add(call["price"])
    assert prices["chat.send"] == {"0.001"}
    assert all(len(each) == 1 for each in prices.values())


def test_some_accounts_reach_the_least_that_is_settled_and_some_do_not() -> None:
    pending: Counter[tuple[str, ...]] = Counter()
    for event in events(stream("agent_rpc_metering"), Kind.GOOD):
        call = event["data"]
        if call["status"] == "success" and not call["free_tier"]:
            account = (event["org_id"], call["agent_id"], call["consumer_id"], call["currency"])
            pending[account] += call["quantity"] * Decimal(call["price"])
    assert min(pending.values()) < Decimal("0.1") <= max(pending.values())


def test_audit_events_tell_a_secret_now_and_then() -> None:
    audit = stream("audit_log")
    told = [event for event in events(audit) if SECRET.search(json.dumps(event, separators=(",", ":")))]
    assert 0 < len(told) < len(events(audit)) / 5
    assert {name for event in told for name in SECRET.findall(json.dumps(event, separators=(",", ":")))} == {
        "password",
        "token",
        "secret",
    }
    assert {event["type"].split(".")[0] for event in events(audit)} == {"iam", "commerce", "gateway"}
    assert all("team_id" not in event for event in events(audit))


def test_one_platform_speaks_on_all_topics() -> None:
    teams = {one.topic: {event.get("team_id") for event in events(one)} for one in STREAMS}
    assert teams["events_plugin_ingestion"] <= teams["llm_usage"] | teams["agent_rpc_metering"]
    orgs = {event["org_id"] for event in events(stream("llm_usage"))}
    assert {event["org_id"] for event in events(stream("audit_log"))} <= orgs


def test_teams_of_a_directory_speak_on_every_topic_that_has_teams() -> None:
    spec = replace(SPEC, events=3_000, teams=5, directory={"team_known": "org_known"}, bad=0)
    for one in STREAMS:
        sent = [json.loads(record.value or b"") for record in one.stream(spec, history(spec))]
        known = [event.get("org_id") for event in sent if event.get("team_id", "team_known") == "team_known"]
        assert "org_known" in known
    orgless = [json.loads(r.value or b"") for r in stream("agent_rpc_metering").stream(spec, history(spec))]
    assert any("org_id" not in event for event in orgless)


def mix(moments: list[int], since_ms: dict[str, int] | None = None) -> list[tuple[str, SimulatedRecord]]:
    return list(mixed(SPEC, STREAMS, moments, since_ms or {}))


def test_mixed_streams_share_the_moments_out() -> None:
    sent = mix(list(history(SPEC)))
    assert sent == mix(list(history(SPEC)))
    counts = Counter(name for name, _ in sent)
    assert all(abs(counts[one.topic] - SPEC.events * one.share / SHARES) < 1 for one in STREAMS)
    assert Counter(name for name, _ in sent[:SHARES]) == {one.topic: one.share for one in STREAMS}


def test_a_topic_that_has_its_history_waits_for_the_others() -> None:
    half = NOW_MS - 6 * HOUR_MS
    sent = mix(list(history(SPEC)), {"llm_usage": half, "audit_log": NOW_MS})
    counts = Counter(name for name, _ in sent)
    assert counts["llm_usage"] == pytest.approx(SPEC.events * 25 / SHARES, rel=0.01)
    assert counts["audit_log"] <= 1
    assert counts["agent_rpc_metering"] == pytest.approx(SPEC.events * 15 / SHARES, abs=1)


def test_one_topic_alone_is_its_own_stream(one: Simulated) -> None:
    assert [record for _, record in mixed(SPEC, [one], history(SPEC), {})] == records(one)
