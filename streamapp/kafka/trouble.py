"""What Kafka's error codes mean to us: nobody answers, a topic is missing, a right is missing, a policy forbids it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

from streamapp.access.acl import allowed, resource
from streamapp.access.wanted import wanted
from streamapp.errors import Denied, Misconfigured

PROPAGATION_S = 5.0  # so long a topic that was just made may be unknown to a broker

MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC})
NO_HOME = MISSING | {KafkaError._UNKNOWN_PARTITION}  # of a record that is to be written
NO_ANSWER = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._DESTROY_BROKER,  # a broker left the cluster's metadata, and librdkafka closed its connection
        KafkaError._WAIT_COORD,
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
LOGIN_REFUSED = NOT_LET_IN - {KafkaError._SSL}
LATE = frozenset(
    {KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
)
NO_RIGHT = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
FORBIDDEN = frozenset({KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION})


class Right(NamedTuple):
    """An operation on a resource, in Kafka's words: READ, topic, llm_usage."""

    operation: str
    kind: str
    name: str


class Forbidden(Misconfigured):
    """Kafka understands the request and does not do it: a policy or a limit of the cluster forbids it. `code` is
    Kafka's error code, `reason` its own words. A missing right is `Denied`."""

    def __init__(self, message: str, code: int, reason: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def lacks(user: str | None, right: Right) -> str:
    """The one sentence about a missing right: whose, which, and what a person must do. `user` is
    STREAM_KAFKA__SASL_USERNAME."""
    whose = f"principal {user}" if user else "this client, which names no user,"
    told = f"{whose} lacks {right.operation} on {resource(right.kind, right.name)}"
    if allowed(wanted(), user or "", right.kind, right.name, right.operation):
        return f"{told}: `streamapp access apply` adds it"
    return f"{told}, and is not meant to have it: check STREAM_KAFKA__SASL_USERNAME (`streamapp access matrix`)"


def no_topics(missing: Iterable[str]) -> str:
    """One sentence: what is wrong, and what a person must do."""
    names = sorted(missing)
    if len(names) == 1:
        return f"topic {names[0]} does not exist; create it with `streamapp topics apply`"
    return f"topics {', '.join(names)} do not exist; create them with `streamapp topics apply`"


def to_mend(error: KafkaError, topic: str, user: str | None, transactional_id: str = "") -> Misconfigured | None:
    """What a person must put right before Kafka takes a record for this topic; `Denied` for a missing right. None:
    nothing is known to be wrong, and Kafka may take it later. `user`: who writes."""
    if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return Denied(lacks(user, Right("WRITE", "transactional_id", transactional_id)))
    if error.code() in NO_HOME:
        return Misconfigured(no_topics([topic]))
    if error.code() in NO_RIGHT:  # of the cluster, too: an idempotent producer is let in by WRITE on any topic
        return Denied(lacks(user, Right("WRITE", "topic", topic)))
    if error.code() in LOGIN_REFUSED:
        return Misconfigured(not_let_in(error))
    return None


def not_let_in(error: KafkaError) -> str:
    """One sentence about an error of `NOT_LET_IN`: what happened, and which settings it is about."""
    login, tls = "SASL_USERNAME and its password", "SECURITY_PROTOCOL and STREAM_KAFKA__SSL_CA_FILE"
    settings = login if error.code() in LOGIN_REFUSED else tls
    return f"Kafka does not let us in ({error.str()}); check STREAM_KAFKA__{settings}"


def spoken(error: BaseException) -> KafkaError | None:
    """What Kafka says, if it is Kafka that speaks. A fatal error is raised by the client while it calls us back: Python
    then reports that a call went on with an exception set. Where a report that followed took the exception's place, the
    reason is lost, and the answer is `_FATAL`."""
    if isinstance(error, SystemError):
        if error.__cause__ is None:
            return KafkaError(KafkaError._FATAL)
        error = error.__cause__
    return error.args[0] if isinstance(error, KafkaException) else None


class Heard:
    """The reason behind a record that is not acknowledged in time: what its client heard before. `words` are the last
    ones, empty while all is well. To be `connected`'s `told`."""

    def __init__(self) -> None:
        self.words = ""
        self._refused: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        self.words = error.str()
        if error.code() in LOGIN_REFUSED:
            self._refused = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:  # follows on each of the others
            self._refused = None

    def behind(self, error: KafkaError) -> KafkaError:
        """The refusal of our login, where a time-out is all that a request or a record was told of it."""
        return self._refused if self._refused is not None and error.code() in LATE else error
