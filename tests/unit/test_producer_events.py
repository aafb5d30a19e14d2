"""What a producer sends: exact, valid, keyed by the registry, named once. No Kafka is needed for that."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.kafka.produce.outgoing import Event, NotAcknowledged, prepare
from streamapp.kafka.produce.raw_producer import producer_config
from streamapp.kafka.produce.refusal import refusal
from streamapp.kafka.producer import AuditProducer, EventProducer, MeteringProducer, UsageProducer
from streamapp.schemas.catalog import JUDGES, json_schema
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.money import exact_cost
from streamapp.schemas.values.ulid import event_id
from streamapp.settings import KafkaSettings
from streamapp.topics import registry

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")
AT_MS = 1_763_900_000_123
DATA: Mapping[str, Any] = {
    "model": "zen-72b",
    "provider": "together",
    "prompt_tokens": 150,
    "completion_tokens": 230,
    "total_tokens": 380,
    "latency_ms": 1250.5,
    "cost_usd": Decimal("0.0038"),
}


def prepared(**changes: Any) -> Event | Rejected:
    facts: dict[str, Any] = {
        "event_id": "evt_1",
        "event_type": "llm.usage.completed",
        "source": "llm-gateway",
        "at_ms": AT_MS,
        "data": DATA,
        "team_id": "team_a",
        "org_id": "org_a",
    }
    return prepare(registry.topic(changes.pop("topic", "llm_usage")), **{**facts, **changes})


def sent(event: Event | Rejected) -> Usage:
    assert isinstance(event, Event), event
    usage = decode_usage(event.value)
    assert isinstance(usage, Usage)
    return usage


def refused(event: Event | Rejected) -> Reason:
    assert isinstance(event, Rejected), event
    return event.reason


def test_the_envelope_is_the_standards() -> None:
    event = prepared()
    assert isinstance(event, Event)
    assert event.key == b"team_a"
    assert event.topic == "llm_usage"
    assert json.loads(event.value) == {
        "schema": "hanzo.stream.v1",
        "id": "evt_1",
        "type": "llm.usage.completed",
        "source": "llm-gateway",
        "timestamp": "2025-11-23T12:13:20.123Z",
        "team_id": "team_a",
        "org_id": "org_a",
        "data": {**DATA, "cost_usd": 0.0038},
    }


@given(st.decimals(min_value=0, max_value=10**18 - 1, places=12))
def test_the_amount_that_is_given_is_the_amount_that_arrives(amount: Decimal) -> None:
    for given_as in (amount, format(amount, "f")):
        assert sent(prepared(data={**DATA, "cost_usd": given_as})).data.cost_usd == exact_cost(amount)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal("1E-12"), b"0.000000000001"),
        (Decimal("0.10"), b"0.1"),
        (Decimal("1E+3"), b"1000"),
        (Decimal("-0"), b"0"),
        (0, b"0"),
        (7, b"7"),
        ("2.50", b"2.5"),
        ("1e-3", b"0.001"),
    ],
)
def test_money_is_written_as_a_plain_number(amount: Decimal | int | str, text: bytes) -> None:
    event = prepared(data={**DATA, "cost_usd": amount})
    assert isinstance(event, Event)
    assert b'"cost_usd":' + text + b"}" in event.value


def test_more_than_12_decimals_are_sent_as_they_are_and_billed_rounded() -> None:
    usage = sent(prepared(data={**DATA, "cost_usd": Decimal("0.0016150000000000001")}))
    assert (str(usage.data.cost_usd), usage.is_rounded) == ("0.001615000000", True)


def test_a_measurement_that_is_no_number_costs_no_money() -> None:
    assert sent(prepared(data={**DATA, "latency_ms": float("nan")})).data.latency_ms is None
    assert sent(prepared(data={**DATA, "latency_ms": -3})).data.latency_ms == -1.0


@pytest.mark.parametrize(
    "amount",
    [
        0.0038,
        True,
        None,
        "",
        "1_000",
        " 1",
        "NaN",
        "1e999",
        Decimal("NaN"),
        Decimal("-1"),
        Decimal("-1E-20"),
        10**18,
        b"1",
    ],
)
def test_an_amount_that_is_not_exact_money_is_refused(amount: Any) -> None:
    assert refused(prepared(data={**DATA, "cost_usd": amount})) is Reason.INVALID_COST


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"team_id": None}, Reason.INVALID_ENVELOPE),
        ({"team_id": ""}, Reason.INVALID_ENVELOPE),
        ({"team_id": "x" * 1000}, Reason.INVALID_ENVELOPE),
        ({"event_id": "a b"}, Reason.INVALID_ENVELOPE),
        ({"event_id": ""}, Reason.INVALID_ENVELOPE),
        ({"event_type": "llm.usage.started"}, Reason.UNKNOWN_TYPE),
        ({"event_type": "billing.usage.hourly"}, Reason.UNKNOWN_TYPE),
        ({"data": {}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "model": ""}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "user_id": float("nan")}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "latency_ms": object()}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "user_id": "\ud800"}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "note": "x" * 1_000_000}}, Reason.INVALID_DATA),
        ({"data": {**DATA, "total_tokens": 379}}, Reason.TOKENS_MISMATCH),
    ],
)
def test_what_a_consumer_would_refuse_is_not_sent(change: Mapping[str, Any], reason: Reason) -> None:
    assert refused(prepared(**change)) is reason


CALL: Mapping[str, Any] = {
    "agent_id": "agent_7", "consumer_id": "c", "method": "chat.send", "quantity": 3, "price": Decimal("0.0010"),
    "currency": "AI",
}  # fmt: skip
TOPICS: Mapping[str, tuple[type[EventProducer], Mapping[str, Any], bytes]] = {
    "llm_usage": (UsageProducer, {"team_id": "team_a", "data": DATA}, b"team_a"),
    "agent_rpc_metering": (MeteringProducer, {"org_id": "org_a", "data": CALL}, b"agent_7"),
    "audit_log": (
        AuditProducer, {"type": "iam.auth.login_success", "org_id": "org_a", "data": {"user_id": "u"}}, b"org_a"
    ),
}  # fmt: skip


@pytest.mark.parametrize("topic", TOPICS)
def test_each_producer_has_the_topic_type_and_key_of_the_standard(topic: str) -> None:
    kind, facts, key = TOPICS[topic]
    event = kind(NOWHERE, source="me").prepared(**facts)
    assert isinstance(event, Event), event
    assert (event.topic, event.key, event.headers) == (topic, key, ())
    assert not isinstance(JUDGES[topic](event.value), Rejected)
    tree = json.loads(event.value)
    assert (tree["schema"], tree["source"], tree["id"][:4], len(tree["id"])) == ("hanzo.stream.v1", "me", "evt_", 30)
    jsonschema.validate(tree, json_schema({"audit_log": "audit.event"}.get(topic, tree["type"])))


def test_an_audit_event_names_its_type() -> None:
    event = AuditProducer(NOWHERE, source="me").prepared(org_id="org_a", data={"user_id": "u"})
    assert refused(event) is Reason.INVALID_ENVELOPE


@pytest.mark.parametrize("price", ["0.0010", Decimal("0.001"), "1e-3"])
def test_a_price_is_written_as_text(price: Any) -> None:
    event = prepared(topic="agent_rpc_metering", event_type="agent.rpc.metered", data={**CALL, "price": price})
    assert isinstance(event, Event)
    assert b'"price":"0.001"' in event.value


@pytest.mark.parametrize("price", [0.001, "0.0000000000001", Decimal("NaN"), "-1", True, None, 10**18])
def test_a_price_that_is_not_exact_is_refused(price: Any) -> None:
    event = prepared(topic="agent_rpc_metering", event_type="agent.rpc.metered", data={**CALL, "price": price})
    assert refused(event) is Reason.INVALID_PRICE


@pytest.mark.parametrize("topic", ["agent_rpc_metering", "billing_events", "events_plugin_ingestion"])
def test_a_type_that_the_topic_does_not_carry_is_refused(topic: str) -> None:
    event = prepared(topic=topic, event_type="iam.auth.login_success", data={"agent_id": "a", "user_id": "u"})
    assert refused(event) is Reason.UNKNOWN_TYPE


def test_a_header_names_the_schema_where_its_id_is_given() -> None:
    guid = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    usage = UsageProducer(NOWHERE, source="me", schema_ids={"llm.usage.completed": guid})
    event = usage.prepared(team_id="team_a", data=DATA)
    assert isinstance(event, Event)
    assert event.headers == (("__value_schema_id", b"\1" + guid.bytes),)


def test_an_event_without_its_key_is_refused() -> None:
    event = prepared(topic="audit_log", event_type="iam.auth.login_success", data={"user_id": "u"}, org_id=None)
    assert refused(event) is Reason.INVALID_ENVELOPE


def test_a_producer_makes_the_id_once_with_its_clock_and_its_randomness() -> None:
    usage = UsageProducer(NOWHERE, source="llm-gateway", clock=lambda: AT_MS, entropy=lambda count: b"\xff" * count)
    event = usage.prepared(team_id="team_a", data=DATA)
    assert sent(event).id == event_id(AT_MS, b"\xff" * 10)
    assert sent(event).at_ms == AT_MS
    again = usage.prepared(team_id="team_a", data=DATA, id="evt_mine", at_ms=AT_MS - 1000)
    assert sent(again).id == "evt_mine"
    assert sent(again).at_ms == AT_MS - 1000


def test_an_event_is_refused_when_its_letter_is_written_not_before() -> None:
    async def send() -> None:
        kafka = NOWHERE.model_copy(update={"delivery_timeout_seconds": 1.0})
        async with UsageProducer(kafka, source="llm-gateway") as usage:
            await usage.send(team_id="team_a", data={**DATA, "total_tokens": 1})

    with pytest.raises(NotAcknowledged) as failure:
        asyncio.run(send())
    assert [event.topic for event in failure.value.events] == ["dead_letter"]


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        ({"data": {"cost_usd": Decimal("0.0038"), "x": object}}, b'"cost_usd":0.0038'),
        ({"data": {"model": "\ud800"}}, b"\\ud800"),
        ({"data": {"n": 10**30, 7: 8}}, b"1000000000000000000000000000000"),
        ({"data": "none"}, b'"data":"none"'),
    ],
)
def test_whatever_was_given_for_an_event_its_letter_tells(facts: dict[str, Any], value: bytes) -> None:
    rejected, llm_usage = Rejected(Reason.INVALID_DATA, "no"), registry.topic("llm_usage")
    given = {"team_id": "team_a", "type": "llm.usage.completed", **facts}
    event = refusal(llm_usage, "llm-gateway", rejected, given, "evt_1", AT_MS, bytes(10))
    data = json.loads(event.value)["data"]
    assert (data["producer"], data["source_topic"], data["key_b64"]) == ("llm-gateway", "llm_usage", "dGVhbV9h")
    assert value in b64decode(data["value_b64"])


def test_only_registered_topics_have_a_producer() -> None:
    with pytest.raises(KeyError):
        EventProducer(NOWHERE, topic="my_topic", source="me")


def test_the_settings_are_those_of_the_standard() -> None:
    config = producer_config(KafkaSettings(), 10)
    wanted = {
        "acks": "all",
        "enable.idempotence": True,
        "retry.backoff.ms": 100,
        "max.in.flight.requests.per.connection": 5,
        "compression.type": "lz4",
        "batch.size": 16384,
        "linger.ms": 5,
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": 30_000,
    }
    assert {name: config[name] for name in wanted} == wanted


def test_an_error_names_the_events_and_keeps_them_all() -> None:
    events = [Event(f"evt_{number}", "llm_usage", b"t", b"{}") for number in range(50)]
    error = NotAcknowledged(events, "timed out")
    assert "evt_0, evt_1" in str(error)
    assert "and 30 more (timed out)" in str(error)
    assert len(error.events) == 50
