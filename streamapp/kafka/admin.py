"""What we ask of a Kafka cluster besides records, typed, with errors of our own tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from streamapp.access.acl import CLUSTER
from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Misconfigured, Refused, StreamError, Unavailable
from streamapp.kafka.clients.admin_client import AdminClient, Trouble
from streamapp.kafka.clients.handshake import disagreement
from streamapp.kafka.clients.login import connected
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.groups import GroupSeen, look
from streamapp.kafka.partitions import Partition
from streamapp.kafka.trouble import (
    FORBIDDEN,
    LEADERLESS,
    MISSING,
    NO_ANSWER,
    NO_RIGHT,
    NOT_LET_IN,
    Forbidden,
    Right,
    lacks,
    not_let_in,
)
from streamapp.settings import KafkaSettings
from streamapp.topics.plan import TopicState

LEADER_POLL_S = 0.05
COORDINATOR_S = 5.0  # a question to a group's coordinator that takes longer is asked anew, each time with more patience
SETTLED_S = 10.0  # a transaction is open no longer than its chunk takes, or belongs to nobody any more
ON_TOPIC = ConfigSource.DYNAMIC_TOPIC_CONFIG.value

_SEE = Right("DESCRIBE", "cluster", CLUSTER)
_NO_SUCH_TOPIC = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)


class Admin:
    """One cluster. Every call raises `Unavailable` when it does not answer in `timeout_s`, `Misconfigured` when it
    lets us not in or a policy forbids the request, `Denied` when a right is missing, `Refused` when it declines."""

    def __init__(self, kafka: KafkaSettings, *, timeout_s: float = 15) -> None:
        self._kafka = kafka
        self._bootstrap = kafka.bootstrap_servers
        self._timeout_s = timeout_s
        self._trouble = Trouble()
        self._config = confluent_config(kafka)
        self._client = connected(AdminClient, self._config, self._trouble)

    def topics(self) -> frozenset[str]:
        """The names of all topics, ours and others."""
        return frozenset(self._metadata().topics)

    def partitions(self, topic: str) -> int:
        """How many a topic has. Raises `Misconfigured` when there is no such topic."""
        topics = self._metadata().topics
        if topic not in topics:
            raise self._translated(f"read {topic}", _NO_SUCH_TOPIC)
        return len(topics[topic].partitions)

    def describe(self, names: Iterable[str], settings_of: Collection[str] | None = None) -> dict[str, TopicState]:
        """Name → state, of those that exist. `settings_of`: whose settings are read, which takes a right of its own;
        None: of all. Raises `Misconfigured` for a topic that we may know nothing of."""
        there = sorted(set(names))
        if not there:
            return {}
        descriptions = self._client.describe_topics(TopicCollection(there), request_timeout=self._timeout_s)
        read = there if settings_of is None else [name for name in there if name in settings_of]
        resources = {name: ConfigResource(ConfigResource.Type.TOPIC, name) for name in read}
        configs = self._client.describe_configs([*resources.values()], request_timeout=self._timeout_s) if read else {}
        found = {}
        for name in there:
            entries: Mapping[str, Any] = {}
            try:
                topic = self._asked(f"describe {name}", descriptions[name].result, Right("DESCRIBE", "topic", name))
                if name in resources:
                    right = Right("DESCRIBE_CONFIGS", "topic", name)
                    entries = self._asked(f"read the settings of {name}", configs[resources[name]].result, right)
            except Missing:
                continue
            found[name] = TopicState(
                topic_id=str(topic.topic_id),
                partitions=len(topic.partitions),
                replication_factor=min(len(partition.replicas) for partition in topic.partitions),
                in_sync=min(len(partition.isr) for partition in topic.partitions),
                configs={key: str(entry.value) for key, entry in entries.items()},
                overridden=frozenset(key for key, entry in entries.items() if entry.source == ON_TOPIC),
            )
        return found

    def groups(self) -> frozenset[str]:
        """The names of all consumer groups that Kafka still keeps something of, ours and others."""
        answer = self._client.list_consumer_groups(request_timeout=self._timeout_s)
        found = self._asked("list consumer groups", answer.result, _SEE)
        if found.errors:
            raise self._translated("list consumer groups", found.errors[0].args[0], _SEE)
        return frozenset(item.group_id for item in found.valid)

    def broker_configs(self) -> dict[int, dict[str, str]]:
        """Of each broker that is there, its settings in force."""
        resources = {n: ConfigResource(ConfigResource.Type.BROKER, str(n)) for n in self._metadata().brokers}
        # librdkafka takes one broker a request.
        asked = {
            n: self._client.describe_configs([r], request_timeout=self._timeout_s)[r] for n, r in resources.items()
        }
        right = Right("DESCRIBE_CONFIGS", "cluster", CLUSTER)
        told = {n: self._asked(f"read the settings of broker {n}", one.result, right) for n, one in asked.items()}
        return {n: {key: str(entry.value) for key, entry in entries.items()} for n, entries in told.items()}

    def create(self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> None:
        """Create a topic; done already is done."""
        topic = NewTopic(name, partitions, replication_factor, config=dict(configs))
        future = self._client.create_topics([topic], request_timeout=self._timeout_s)[name]
        right = Right("CREATE", "topic", name)
        self._asked(f"create {name}", future.result, right, done=KafkaError.TOPIC_ALREADY_EXISTS)

    def add_partitions(self, name: str, total: int) -> None:
        """Raise the number of partitions to `total`."""
        future = self._client.create_partitions([NewPartitions(name, total)], request_timeout=self._timeout_s)[name]
        self._asked(f"raise the partitions of {name}", future.result, Right("ALTER", "topic", name))

    def set_configs(self, name: str, configs: Mapping[str, str]) -> None:
        """Set these of a topic's settings, leave the others."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in configs.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
        future = self._client.incremental_alter_configs([resource], request_timeout=self._timeout_s)[resource]
        self._asked(f"set {', '.join(configs)} of {name}", future.result, Right("ALTER_CONFIGS", "topic", name))

    def end_offsets(self, partitions: Iterable[Partition], *, committed: bool = False) -> dict[Partition, int]:
        """The offset behind each partition's last record; with `committed`, behind its last stable one: no
        transaction is open before it."""
        return self._offsets(partitions, OffsetSpec.latest(), committed)

    def start_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of each partition's first record that is still kept."""
        return self._offsets(partitions, OffsetSpec.earliest(), False)

    def offsets_at(self, partitions: Iterable[Partition], at_ms: int) -> dict[Partition, int]:
        """The offset of each partition's first record of that timestamp or later; -1 where there is none."""
        return self._offsets(partitions, OffsetSpec.for_timestamp(at_ms), False)

    def committed(
        self, group: str, partitions: Iterable[Partition] | None = None, *, settled: bool = False
    ) -> dict[Partition, int]:
        """The offsets a group has committed, of these partitions or of all; empty when it never did.

        `settled`: wait until no transaction is open that commits offsets of the group. A worker that was killed leaves
        one open for a minute, or until its successor ends it. Raises `Unsettled` after `SETTLED_S`.
        """
        request = [TopicPartition(*at) for at in (self._every_partition() if partitions is None else partitions)]
        # A consumer asks, because librdkafka's admin request for the same crashes the process (2.16.1) when the
        # group's coordinator is not there yet, as in the first moments of a cluster.
        level = "read_committed" if settled else "read_uncommitted"
        settings = {**self._config, "group.id": group, "enable.auto.commit": False, "isolation.level": level}
        began_s, spent_s = monotonic_s(), 0.0
        while True:
            share_s = min(max(spent_s, COORDINATOR_S), max(self._timeout_s - spent_s, LEADER_POLL_S))
            try:
                found = self._asked(
                    f"read the offsets of group {group}", partial(self._committed, settings, request, share_s)
                )
                return {(item.topic, item.partition): item.offset for item in found if item.offset >= 0}
            except Unavailable:
                answers = False
                with suppress(Unavailable):  # librdkafka tells neither a refusal nor an open transaction from silence
                    self.group(group, share_s)
                    answers = True
                spent_s = monotonic_s() - began_s
                if settled and answers and spent_s > min(SETTLED_S, self._timeout_s):
                    open_s = f"a transaction that commits some of them has been open for {spent_s:.0f} s"
                    raise Unsettled(f"the offsets of group {group} are not settled: {open_s}") from None
                if spent_s > self._timeout_s:
                    raise
            threading.Event().wait(LEADER_POLL_S)

    def _committed(self, settings: Mapping[str, Any], of: list[TopicPartition], timeout_s: float) -> Any:
        """A consumer's answer. Each question has a consumer of its own: one that waits for a coordinator does not look
        whether that has moved."""
        consumer = connected(Consumer, settings, self._trouble)
        try:
            return consumer.committed(of, timeout=timeout_s)
        finally:
            consumer.close()

    def _every_partition(self) -> list[Partition]:
        return [(name, number) for name, topic in self._metadata().topics.items() for number in topic.partitions]

    def group(self, name: str, within_s: float | None = None) -> GroupSeen:
        """Whether a group runs (its `state`, always said), and who is in it. Not where an event loop runs."""
        # aiokafka asks: librdkafka (2.16.1) does not find a coordinator again that was away, and may end the process.
        patience_s = self._timeout_s if within_s is None else within_s
        deadline_s = monotonic_s() + patience_s
        while True:
            seen = look(self._kafka, (name,), (), patience_s).groups[name]
            if seen.state:
                return seen
            if seen.denied:
                raise Denied(lacks(self._kafka.sasl_username, Right("DESCRIBE", "group", name)))
            if monotonic_s() > deadline_s:
                raise Unavailable(f"cannot describe group {name}: Kafka at {self._bootstrap} says: {seen.problem}")
            threading.Event().wait(LEADER_POLL_S)

    def _offsets(self, partitions: Iterable[Partition], spec: OffsetSpec, committed: bool) -> dict[Partition, int]:
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        request = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        end_s = monotonic_s() + self._timeout_s
        while request:
            futures = self._client.list_offsets(request, isolation_level=level, request_timeout=self._timeout_s)
            try:
                return {(key.topic, key.partition): future.result().offset for key, future in futures.items()}
            except KafkaException as exception:
                error = exception.args[0]
            names = {key.topic for key in request}
            if error.code() not in LEADERLESS or monotonic_s() > end_s:
                listed = ", ".join(sorted(names))
                raise self._translated(f"read the offsets of {listed}", error, Right("DESCRIBE", "topic", listed))
            if missing := names - self.topics():
                self.describe(missing, settings_of=())  # what we may know nothing of is not listed
                raise self._translated(f"read the offsets of {', '.join(sorted(missing))}", _NO_SUCH_TOPIC)
            threading.Event().wait(LEADER_POLL_S)
        return {}

    def _metadata(self) -> Any:
        """What any broker knows: the cluster's id, its brokers and topics. No controller is waited for."""
        return self._asked("list topics", lambda: self._client.list_topics(timeout=self._timeout_s))

    def _asked(self, what: str, answer: Callable[[], Any], right: Right | None = None, done: int | None = None) -> Any:
        """The answer, or None where Kafka says `done`; its exceptions translated. `right`: what it takes."""
        try:
            return answer()
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() == done:
                return None
            raise self._translated(what, error, right) from None

    def _translated(self, what: str, error: KafkaError, right: Right | None = None) -> StreamError:
        if error.code() in MISSING:
            return Missing(f"cannot {what}: there is no such topic at {self._bootstrap}; `streamapp topics apply`")
        self._client.poll(0)  # delivers what `_trouble` waits for
        trouble = self._trouble.last
        if error.code() in NO_ANSWER and trouble is not None and trouble.code() in NOT_LET_IN:
            error = trouble
        if error.code() in {*NO_ANSWER, KafkaError._SSL} and (refused := disagreement(self._kafka)):
            return Misconfigured(f"cannot {what}: {refused}")
        if error.code() in NOT_LET_IN:
            return Misconfigured(f"cannot {what}: {not_let_in(error)}")
        if error.code() in NO_RIGHT and right is not None:
            return Denied(f"cannot {what}: {lacks(self._kafka.sasl_username, right)}")
        if error.code() == KafkaError.SECURITY_DISABLED:
            return Misconfigured(
                f"cannot {what}: Kafka at {self._bootstrap} has no authorizer, so everybody may do everything; set "
                "authorizer.class.name on its brokers (docs/security.md), or try `streamapp run --secure`"
            )
        if error.code() in FORBIDDEN:
            told = f"cannot {what}: Kafka at {self._bootstrap} says: {error.str()}"
            return Forbidden(told, error.code(), error.str())
        if error.code() in NO_ANSWER or error.retriable():
            return Unavailable(
                f"cannot {what}: Kafka at {self._bootstrap} does not answer ({error.str()}); is it running, and is "
                "STREAM_KAFKA__BOOTSTRAP_SERVERS right?"
            )
        return Refused(f"cannot {what}: Kafka at {self._bootstrap} says: {error.str()}")


class Unsettled(Unavailable):
    """A transaction that commits offsets of the group stays open."""


class Missing(Misconfigured):
    """A topic that is asked about does not exist."""
