"""A missing right is one sentence, whichever client tells of it."""

from __future__ import annotations

import pytest
from aiokafka import errors
from confluent_kafka import KafkaError

from streamapp.errors import Denied, Misconfigured
from streamapp.kafka.clients.aio import denied, naming_rights
from streamapp.kafka.groups import GroupSeen, Seen
from streamapp.kafka.produce.outgoing import Event, NotAcknowledged, NotWritable, WriteDenied
from streamapp.kafka.produce.refusal import not_taken
from streamapp.kafka.trouble import Right, lacks, to_mend
from streamapp.local.reading import demand_rights

USER = "billing-aggregator"


def test_the_sentence_says_whose_right_it_is_and_what_to_do() -> None:
    assert lacks(USER, Right("READ", "topic", "llm_usage")) == (
        "principal billing-aggregator lacks READ on topic llm_usage: `streamapp access apply` adds it"
    )
    assert lacks("commerce", Right("READ", "topic", "llm_usage")) == (
        "principal commerce lacks READ on topic llm_usage, and is not meant to have it: check "
        "STREAM_KAFKA__SASL_USERNAME (`streamapp access matrix`)"
    )
    assert lacks(None, Right("READ", "topic", "llm_usage")).startswith("this client, which names no user, lacks READ")
    assert "lacks DESCRIBE on topic llm_usage: `streamapp access apply`" in lacks(
        USER, Right("DESCRIBE", "topic", "llm_usage")
    ), "READ brings it along"


@pytest.mark.parametrize(
    ("error", "operation", "words"),
    [
        (errors.TopicAuthorizationFailedError("llm_usage"), "READ", "READ on topic llm_usage: `streamapp access"),
        (
            errors.TopicAuthorizationFailedError({"billing_events"}),
            "WRITE",
            "WRITE on topic billing_events: `streamapp",
        ),
        (errors.GroupAuthorizationFailedError("billing-agg"), "WRITE", "READ on group billing-agg: `streamapp access"),
        (
            errors.TransactionalIdAuthorizationFailed("billing-agg-llm_usage-3"),
            "READ",
            "WRITE on transactional id billing-agg-llm_usage-3: `streamapp access apply` adds it",
        ),
        (errors.ClusterAuthorizationFailedError(), "ALTER", "ALTER on the cluster, and is not meant to have it"),
    ],
)
def test_errors_of_aiokafka_name_the_right(error: errors.KafkaError, operation: str, words: str) -> None:
    told = denied(error, USER, operation)
    assert isinstance(told, Denied)
    assert f"principal billing-aggregator lacks {words}" in str(told)
    outer = errors.KafkaError("Unexpected error during batch delivery")
    outer.__cause__ = error
    assert str(denied(outer, USER, operation)) == str(told), "also behind another error"
    with pytest.raises(Misconfigured, match="lacks"), naming_rights(USER, operation):
        raise error


def test_other_errors_stay_as_they_are() -> None:
    for error in (errors.ProducerFenced(), ValueError("no")):
        assert denied(error, USER, "READ") is error
        with pytest.raises(type(error)), naming_rights(USER, "READ"):
            raise error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "principal llm-gateway lacks WRITE on topic llm_usage: `streamapp access",
        ),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "principal llm-gateway lacks WRITE on topic llm_usage: `streamapp"),
        (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "principal llm-gateway lacks WRITE on transactional id mine",
        ),
        (KafkaError._TRANSPORT, ""),
    ],
)
def test_errors_of_librdkafka_name_the_right(code: int, words: str) -> None:
    told = to_mend(KafkaError(code), "llm_usage", "llm-gateway", "mine")
    assert str(told or "").startswith(words)
    assert isinstance(told, Denied) == bool(words)


def test_an_event_that_may_not_be_written_is_denied_and_one_without_a_topic_is_not() -> None:
    event = Event("evt_1", "llm_usage", b"team", b"{}")
    for code, kind in (
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, WriteDenied),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, WriteDenied),
        (KafkaError._UNKNOWN_TOPIC, NotWritable),
        (KafkaError._TRANSPORT, NotAcknowledged),
    ):
        told = not_taken(event, KafkaError(code), "llm-gateway")
        assert type(told) is kind
        assert isinstance(told, Denied) == ("lacks WRITE on topic llm_usage" in str(told)) == (kind is WriteDenied)


def test_a_look_at_lag_names_what_may_not_be_asked_about() -> None:
    group = {"billing-agg": GroupSeen("", problem="GroupAuthorizationFailed", denied=True)}
    for seen, words in (
        (Seen(group, {}, {}), "lag-monitor lacks DESCRIBE on group billing-agg: `streamapp access apply`"),
        (
            Seen({}, {}, {}, denied=frozenset({"llm_usage"})),
            "lag-monitor lacks DESCRIBE on topic llm_usage: `streamapp access",
        ),
    ):
        with pytest.raises(Denied, match=words):
            demand_rights(seen, "lag-monitor")
    demand_rights(Seen({}, {}, {}), "lag-monitor")
