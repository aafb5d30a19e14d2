"""What Kafka's error codes mean to us: nobody answers, a topic is missing, a right is missing, a policy forbids it."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError

from streamapp.errors import Misconfigured

PROPAGATION_S = 5.0  # so long a topic that was just made may be unknown to a broker

MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC})
NO_HOME = MISSING | {KafkaError._UNKNOWN_PARTITION}  # of a record that is to be written
NO_ANSWER = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
# A partition that was just made, or whose broker just came back, has no leader for a moment. `_NOENT` is librdkafka's
# "No leaders found". The two epochs: what librdkafka remembers of a leader is older, or that of a deleted topic.
LEADERLESS = MISSING | {
    KafkaError._NOENT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
NOT_LET_IN = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
NO_RIGHT = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
FORBIDDEN = NO_RIGHT | {
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_CONFIG,
    KafkaError.POLICY_VIOLATION,
}


class Forbidden(Misconfigured):
    """Kafka understands the request and does not do it: a right is missing, a policy or a limit of the cluster forbids
    it. `code` is Kafka's error code, `reason` its own words."""

    def __init__(self, message: str, error: KafkaError) -> None:
        super().__init__(message)
        self.code, self.reason = error.code(), error.str()


def no_topics(missing: Iterable[str]) -> str:
    """One sentence: what is wrong, and what a person must do."""
    names = sorted(missing)
    if len(names) == 1:
        return f"topic {names[0]} does not exist; create it with `streamapp topics apply`"
    return f"topics {', '.join(names)} do not exist; create them with `streamapp topics apply`"


def to_mend(error: KafkaError, topic: str) -> str:
    """What a person must put right before Kafka takes a record for this topic, as a sentence. Empty: nothing is known
    to be wrong, and Kafka may take it later."""
    if error.code() in NO_HOME:
        return no_topics([topic])
    if error.code() in NO_RIGHT or error.code() == KafkaError._AUTHENTICATION:
        return f"Kafka refuses records for {topic} ({error.str()}); check STREAM_KAFKA__SASL_USERNAME and its rights"
    return ""
