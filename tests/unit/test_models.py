"""What the models take and refuse, and why: one sentence, one reason, the first in order."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from streamapp.schemas.billing import BillingHourly, BillingRevised
from streamapp.schemas.budget import BudgetCrossed
from streamapp.schemas.dead_letter import EventRejected
from streamapp.schemas.envelope import Envelope, StatementEnvelope
from streamapp.schemas.fields import UNUSABLE
from streamapp.schemas.judging.decode import Reason, Rejected, Usage, decode_usage
from streamapp.schemas.settlement import RpcSettled
from streamapp.schemas.values.strict_json import Malformed, NotANumber, parse

USAGE_SAMPLE = """{
  "schema": "hanzo.stream.v1",
  "id": "evt_01HQ3X7K8M2N4P5R6S7T8U9V0W",
  "type": "llm.usage.completed",
  "source": "llm-gateway",
  "timestamp": "2025-01-15T10:30:00.123Z",
  "team_id": "team_abc123",
  "org_id": "org_hanzo",
  "data": {
    "request_id": "req_xyz789",
    "model": "zen-72b",
    "provider": "together",
    "prompt_tokens": 150,
    "completion_tokens": 230,
    "total_tokens": 380,
    "latency_ms": 1250,
    "cost_usd": 0.0038,
    "user_id": "user_456",
    "api_key_hash": "sha256:abc...",
    "cache_hit": false,
    "stream": true
  }
}"""
CAPTURE_SAMPLE = """{
  "schema": "hanzo.stream.v1",
  "id": "evt_01HQ4Y8L9N3O5Q6R7S8T9U0V1X",
  "type": "insights.event.captured",
  "source": "insights-capture",
  "timestamp": "2025-01-15T10:31:00.456Z",
  "team_id": "team_abc123",
  "data": {
    "event": "$pageview",
    "distinct_id": "user_456",
    "properties": {
      "$current_url": "https://hanzo.ai/dashboard",
      "$browser": "Chrome",
      "$os": "macOS"
    },
    "ip": "203.0.113.42",
    "session_id": "sess_abc123",
    "sent_at": "2025-01-15T10:30:59.800Z"
  }
}"""
AUDIT_SAMPLE = """{
  "schema": "hanzo.stream.v1",
  "id": "evt_01HQ5Z9M0O4P6R7S8T9U0V1W2Y",
  "type": "iam.auth.login_success",
  "source": "iam",
  "timestamp": "2025-01-15T10:32:00.789Z",
  "org_id": "org_hanzo",
  "data": {
    "user_id": "user_456",
    "email": "[email protected]",
    "method": "oauth2",
    "provider": "github",
    "ip": "203.0.113.42",
    "user_agent": "Mozilla/5.0...",
    "application": "app-hanzo"
  }
}"""
BASE_SAMPLE = """{
  "schema": "hanzo.stream.v1",
  "id": "evt_01HQ3X7K8M2N4P5R6S7T8U9V0W",
  "type": "llm.usage.completed",
  "source": "llm-gateway",
  "timestamp": "2025-01-15T10:30:00.000Z",
  "team_id": "team_abc123",
  "org_id": "org_hanzo",
  "data": { }
}"""

ABSENT = object()


def event(path: str = "", value: object = None) -> bytes:
    """The standard's usage event with one field set to a value, or taken out if that is ABSENT."""
    tree: dict[str, Any] = json.loads(USAGE_SAMPLE)
    *way, last = path.split(".")
    target = tree[way[0]] if way else tree
    if value is ABSENT:
        del target[last]
    elif path:
        target[last] = value
    return json.dumps(tree).encode()


def cost(text: str) -> bytes:
    return event("data.cost_usd", "@").replace(b'"@"', text.encode())


def test_the_standards_usage_event_is_accepted_as_it_stands() -> None:
    usage = decode_usage(USAGE_SAMPLE.encode())
    assert isinstance(usage, Usage)
    assert (usage.id, usage.team_id, usage.org_id) == ("evt_01HQ3X7K8M2N4P5R6S7T8U9V0W", "team_abc123", "org_hanzo")
    assert (usage.at_ms, str(usage.data.cost_usd)) == (1_736_937_000_123, "0.003800000000")
    assert (usage.data.status, usage.data.currency, usage.data.cache_hit) == ("success", "USD", False)
    assert (usage.data.model, usage.data.provider, usage.data.latency_ms) == ("zen-72b", "together", 1250.0)


@pytest.mark.parametrize("sample", [BASE_SAMPLE, USAGE_SAMPLE, CAPTURE_SAMPLE, AUDIT_SAMPLE])
def test_every_sample_of_the_standard_has_the_base_envelope(sample: str) -> None:
    tree, strange = parse(sample.encode())
    assert not strange
    assert Envelope.model_validate(tree).schema_ == "hanzo.stream.v1"


@pytest.mark.parametrize(
    ("raw", "reason", "error"),
    [
        (None, "empty_value", "the record has no value"),
        (b"", "empty_value", "the record has no value"),
        (b" ", "malformed_json", "the value is not JSON: expecting value at character 1"),
        (b"\xff", "malformed_json", "the value is not UTF-8 at byte 0"),
        (b"{} {}", "malformed_json", "the value is not JSON: extra data at character 3"),
        (b'["a', "malformed_json", "the value is not JSON: unterminated string starting at character 1"),
        (b"[NaN]", "malformed_json", "the value is not JSON: it contains NaN"),
        (b"[" * 10_000, "malformed_json", "the value is nested more than 400 levels deep"),
        (b"[]", "invalid_envelope", "the value is not an object"),
        (b"7", "invalid_envelope", "the value is not an object"),
        (event("schema", "hanzo.stream.v2"), "invalid_envelope", "schema is not 'hanzo.stream.v1'"),
        (event("schema", ABSENT), "invalid_envelope", "schema is missing"),
        (event("id", ""), "invalid_envelope", "id is empty"),
        (event("id", "x" * 129), "invalid_envelope", "id is longer than 128 characters"),
        (event("id", "a b"), "invalid_envelope", r"id has characters that do not match ^[\x21-\x7e]+$"),
        (event("source", ABSENT), "invalid_envelope", "source is missing"),
        (event("source", 7), "invalid_envelope", "source is not a string"),
        (event("timestamp", 7), "invalid_envelope", "timestamp is not a string"),
        (
            event("timestamp", "2025-01-15 10:30:00Z"),
            "invalid_envelope",
            "timestamp is not an RFC 3339 timestamp with Z or an offset, between 1970 and 9999",
        ),
        (
            event("timestamp", "2025-01-15T10:30:00"),
            "invalid_envelope",
            "timestamp has no time zone: add Z or an offset",
        ),
        (event("data", []), "invalid_envelope", "data is not an object"),
        (event("data", ABSENT), "invalid_envelope", "data is missing"),
        (event("team_id", ABSENT), "invalid_envelope", "team_id is missing"),
        (event("team_id", None), "invalid_envelope", "team_id is not a string"),
        (event("team_id", ""), "invalid_envelope", "team_id is empty"),
        (event("type", "llm.usage.started"), "unknown_type", 'type "llm.usage.started" is not carried by this topic'),
        (AUDIT_SAMPLE.encode(), "unknown_type", 'type "iam.auth.login_success" is not carried by this topic'),
        (event("data", {}), "invalid_data", "data.provider is missing"),
        (event("data.model", ABSENT), "invalid_data", "data.model is missing"),
        (event("data.model", "\ud800"), "invalid_data", "data.model is not valid Unicode text"),
        (event("data.prompt_tokens", "150"), "invalid_data", "data.prompt_tokens is not an integer"),
        (event("data.prompt_tokens", True), "invalid_data", "data.prompt_tokens is not an integer"),
        (event("data.prompt_tokens", 150.5), "invalid_data", "data.prompt_tokens is not an integer"),
        (event("data.prompt_tokens", -1), "invalid_data", "data.prompt_tokens is less than 0"),
        (event("data.total_tokens", 2**53 + 1), "invalid_data", "data.total_tokens is more than 9007199254740992"),
        (event("data.status", "x" * 65), "invalid_data", "data.status is longer than 64 characters"),
        (event("data.status", 200), "invalid_data", "data.status is not a string"),
        (event("data.cache_hit", 1), "invalid_data", "data.cache_hit is not true or false"),
        (event("data.currency", "usd"), "invalid_data", "data.currency has characters that do not match ^[A-Z0-9]+$"),
        (event("data.cost_usd", ABSENT), "invalid_data", "data.cost_usd is missing"),
        (event("data.cost_usd", "0.0038"), "invalid_cost", "data.cost_usd is text: send a JSON number, without quotes"),
        (event("data.cost_usd", None), "invalid_cost", "data.cost_usd is not a finite JSON number"),
        (event("data.cost_usd", True), "invalid_cost", "data.cost_usd is not a finite JSON number"),
        (cost("NaN"), "invalid_cost", "data.cost_usd is not a finite JSON number"),
        (cost("-Infinity"), "invalid_cost", "data.cost_usd is not a finite JSON number"),
        (cost("-0.1"), "invalid_cost", "data.cost_usd is negative"),
        (cost("-1e-20"), "invalid_cost", "data.cost_usd is negative"),
        (cost("999999999999999999.9999999999995"), "invalid_cost", "data.cost_usd has more than 18 integer digits"),
        (cost("1e18"), "invalid_cost", "data.cost_usd has more than 18 integer digits"),
        (
            event("data.total_tokens", 379),
            "tokens_mismatch",
            "data.total_tokens is 379, less than 380 = prompt_tokens + completion_tokens",
        ),
    ],
)
def test_what_is_refused(raw: bytes | None, reason: str, error: str) -> None:
    verdict = decode_usage(raw)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason(reason)
    assert verdict.error.startswith(error)


def test_the_first_reason_in_order_is_given() -> None:
    tree = json.loads(USAGE_SAMPLE)
    tree["data"] |= {"total_tokens": 1, "cost_usd": -1}
    order = [(Reason.INVALID_COST, {}), (Reason.INVALID_DATA, {"data": tree["data"] | {"model": 1}})]
    order += [(Reason.UNKNOWN_TYPE, {"type": "x", "team_id": None}), (Reason.INVALID_ENVELOPE, {"id": 1})]
    for reason, worse in order:
        tree |= worse
        verdict = decode_usage(json.dumps(tree).encode())
        assert isinstance(verdict, Rejected)
        assert verdict.reason is reason


@pytest.mark.parametrize("status", ["success", "error", "timeout", "rate_limited", "failure", "", "é" * 64])
def test_every_status_is_accepted(status: str) -> None:
    usage = decode_usage(event("data.status", status))
    assert isinstance(usage, Usage)
    assert usage.data.status == status


def test_null_is_the_same_as_absent_where_a_field_is_optional() -> None:
    for field in ("status", "currency", "cache_hit", "latency_ms", "ttft_ms", "user_id", "stream", "cache_read_tokens"):
        without = json.loads(USAGE_SAMPLE)
        without["data"].pop(field, None)
        assert decode_usage(event(f"data.{field}", None)) == decode_usage(json.dumps(without).encode())
    assert decode_usage(event("org_id", None)) == decode_usage(event("org_id", ABSENT))


@pytest.mark.parametrize(
    ("text", "exact"), [("0", "0E-12"), ("-0.0", "0E-12"), ("2", "2.000000000000"), ("1e-12", "1E-12")]
)
def test_costs_keep_their_digits(text: str, exact: str) -> None:
    usage = decode_usage(cost(text))
    assert isinstance(usage, Usage)
    assert str(usage.data.cost_usd) == exact


@pytest.mark.parametrize(
    ("text", "exact", "is_rounded"),
    [
        ("0.0016150000000000001", "0.001615000000", True),
        ("2.9999999999999997e-05", "0.000030000000", True),
        ("0.0038000000000000", "0.003800000000", False),
        ("0E-20", "0E-12", False),
        ("0e999", "0E-12", False),
        ("1E2", "100.000000000000", False),
        ("1e-400", "0E-12", True),
    ],
)
def test_what_gateways_write_for_a_cost_is_billed(text: str, exact: str, is_rounded: bool) -> None:
    usage = decode_usage(cost(text))
    assert isinstance(usage, Usage)
    assert (str(usage.data.cost_usd), usage.is_rounded) == (exact, is_rounded)


def test_a_total_may_hold_more_than_its_parts() -> None:
    usage = decode_usage(event("data.total_tokens", 623))
    assert isinstance(usage, Usage)
    assert usage.data.total_tokens == 623


@pytest.mark.parametrize(
    ("text", "read"),
    [
        *((text, UNUSABLE) for text in ("-3", '"1250"', "1e12", "true", "[]", '{"a": [1]}', "86400000.5", "-0.1")),
        *((text, UNUSABLE) for text in ("NaN", "-Infinity", "1e400", "1" * 400)),
        *((text, None) for text in ("null",)),
        *((text, float(text)) for text in ("0", "-0", "-0.0", "1250", "12.5", "1.25e3", "86400000")),
    ],
)
@pytest.mark.parametrize("field", ["latency_ms", "ttft_ms"])
def test_a_measurement_never_costs_money(field: str, text: str, read: float | None) -> None:
    usage = decode_usage(event(f"data.{field}", "@").replace(b'"@"', text.encode()))
    assert isinstance(usage, Usage)
    assert getattr(usage.data, field) == read


@pytest.mark.parametrize("text", ["150.0", "1.5e2", "15E1", "150"])
def test_a_number_without_a_fraction_is_an_integer(text: str) -> None:
    usage = decode_usage(event("data.prompt_tokens", "@").replace(b'"@"', text.encode()))
    assert isinstance(usage, Usage)
    assert (usage.data.prompt_tokens, type(usage.data.prompt_tokens)) == (150, int)


def test_unknown_fields_may_hold_any_json() -> None:
    values: list[object] = [{"a": [1, {"b": None}]}, 10**30, "\ud800", "é", 1.5e300, [[]]]
    for value in values:
        assert isinstance(decode_usage(event("added_later", value)), Usage)
        assert isinstance(decode_usage(event("data.added_later", value)), Usage)


def test_strict_json_keeps_numbers() -> None:
    tree, strange = parse(b'[0.10, 1E+2, 12345678901234567890, 1e99999999999999999999, NaN, {"a": 1, "a": -0.0}]')
    assert [str(number) for number in tree[:3]] == ["0.10", "1E+2", "12345678901234567890"]
    assert (type(tree[0]), type(tree[2]), tree[3]) == (Decimal, int, float("inf"))
    assert strange == [NotANumber("NaN")]
    assert str(tree[5]["a"]) == "-0.0"


@pytest.mark.parametrize(
    "raw", [b"\xef\xbb\xbf{}", b"{'a': 1}", b'{"a": 1,}', b'"\n"', b"01", b'"\\x"', b"{}\x00", b"\x0c1"]
)
def test_strict_json_refuses(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse(raw)


def counters(**changed: object) -> dict[str, object]:
    names = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")
    return {**dict.fromkeys(names, 1), "cost": "0.003800000000", **changed}


def bill(event_type: str, **changed: object) -> dict[str, object]:
    data = {
        "billing_id": "evt_1",
        "revision": 0,
        "supersedes": None,
        "team_id": "team_abc123",
        "period_start": "2025-01-15T10:00:00.000Z",
        "period_end": "2025-01-15T11:00:00.000Z",
        "currency": "USD",
        "totals": counters(),
        "delta": counters(requests=-1, cost="-0.003800000000"),
        "lines": [{"provider": "together", "model": "zen-72b", **counters()}],
        "running_total": {"month": "2025-01", "cost": "0.003800000000", "total_tokens": 1},
        "coverage": {"topic": "llm_usage", "partition": 0, "first_offset": 0, "last_offset": 9, "events": 1},
    }
    base: dict[str, object] = json.loads(BASE_SAMPLE) | {
        "id": "evt_1",
        "source": "billing-aggregator",
        "type": event_type,
    }
    return base | {"data": data | changed}


def test_bills() -> None:
    hourly = BillingHourly.model_validate(bill("billing.usage.hourly"))
    assert hourly.model_dump(mode="json") == bill("billing.usage.hourly")
    revised = BillingRevised.model_validate(bill("billing.usage.revised", revision=1, supersedes="evt_0"))
    assert revised.data.delta.cost == Decimal("-0.0038")


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": 1},
        {"supersedes": "evt_0"},
        {"billing_id": "evt_2"},
        {"team_id": "team_other"},
        {"totals": counters(cost=0.0038)},
        {"totals": counters(cost="0.0038")},
        {"running_total": {"month": "2025-13", "cost": "0.000000000000", "total_tokens": 1}},
        {"period_end": "11:00"},
    ],
)
def test_an_hourly_bill_that_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BillingHourly.model_validate(bill("billing.usage.hourly", **changed))


def statement(event_type: str, own_id: str, **data: object) -> dict[str, object]:
    base: dict[str, object] = json.loads(BASE_SAMPLE) | {"id": "evt_1", "type": event_type}
    period = {"period_start": "2025-01-15T10:00:00.000Z", "period_end": "2025-01-15T11:00:00.000Z"}
    return base | {"data": {own_id: "evt_1", "currency": "AI", **period, **data}}


def settlement(**changed: object) -> dict[str, object]:
    data: dict[str, object] = {
        "agent": "agent_1",
        "consumer": "consumer_1",
        "amount": "0.001000000000",
        "request_count": 1,
        "chain": "hanzo",
        "chain_id": 1,
        "methods": {"call": {"count": 1, "cost": "0.001000000000"}},
        "coverage": {"topic": "rpc_metering", "partition": 0, "first_offset": 0, "last_offset": 0, "events": 1},
    }
    return statement("billing.rpc.settled", "settlement_id", **data | changed)


def crossing(**changed: object) -> dict[str, object]:
    data: dict[str, object] = {
        "team_id": "team_abc123",
        "month": "2025-01",
        "currency": "USD",
        "limit": {"kind": "soft", "amount": "1.000000000000"},
        "cost": "1.000000000000",
        "event": {"id": "evt_2", "topic": "llm_usage", "partition": 0, "offset": 0},
    }
    return statement("billing.budget.crossed", "crossing_id", **data | changed)


def test_every_statement_repeats_its_id_and_its_team() -> None:
    RpcSettled.model_validate(settlement())
    with pytest.raises(ValidationError, match="settlement_id is not the envelope's id"):
        RpcSettled.model_validate(settlement(settlement_id="evt_2"))
    BudgetCrossed.model_validate(crossing())
    with pytest.raises(ValidationError, match="crossing_id is not the envelope's id"):
        BudgetCrossed.model_validate(crossing(crossing_id="evt_2"))
    with pytest.raises(ValidationError, match="team_id is not the envelope's team_id"):
        BudgetCrossed.model_validate(crossing(team_id="team_other"))


def test_a_statement_whose_data_lack_its_id_is_never_taken() -> None:
    class Nameless(StatementEnvelope):
        own_id = "no_such_field"

    with pytest.raises(AttributeError):
        Nameless.model_validate(json.loads(BASE_SAMPLE))


def test_a_revision_needs_the_one_before() -> None:
    for changed in ({"revision": 1}, {"supersedes": "evt_0"}):
        with pytest.raises(ValidationError):
            BillingRevised.model_validate(bill("billing.usage.revised", **changed))


def refusal(**changed: object) -> dict[str, object]:
    data = {
        "source_topic": "llm_usage",
        "source_partition": 3,
        "source_offset": 17,
        "group": "billing-agg",
        "reason": "invalid_cost",
        "error": "data.cost_usd is negative",
        "key_b64": None,
        "value_b64": "e30=",
        "headers": [{"key": "trace", "value_b64": "AA=="}, {"key": "trace", "value_b64": None}],
        "failed_at": "2025-01-15T10:30:00.123Z",
        "attempt": 1,
    }
    base: dict[str, object] = json.loads(BASE_SAMPLE)
    return base | {"type": "stream.event.rejected", "data": data | changed}


def test_every_reason_makes_a_dead_letter() -> None:
    for reason in Reason:
        letter = EventRejected.model_validate(refusal(reason=reason.value))
        assert letter.data.reason is reason
    EventRejected.model_validate(refusal(group=None, producer="llm-gateway", source_partition=None, source_offset=None))


@pytest.mark.parametrize(
    "changed",
    [{"reason": "bad"}, {"group": None}, {"producer": "x"}, {"value_b64": "e30"}, {"attempt": 0}, {"error": ""}],
)
def test_a_dead_letter_that_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EventRejected.model_validate(refusal(**changed))
