"""Access control lists of a cluster: read them, add to them, take away, and wait until every broker goes by them;
and whom the brokers let in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError as ClientError
from aiokafka.protocol.admin import DescribeAclsRequest
from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from streamapp.access.acl import CLUSTER, Acl
from streamapp.access.plan import AccessPlan, plan
from streamapp.access.wanted import principals, wanted
from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Refused, Unavailable
from streamapp.kafka.admin import Admin, Missing
from streamapp.kafka.clients.aio import aiokafka_config, asking
from streamapp.kafka.clients.handshake import disagreement
from streamapp.kafka.trouble import Right, lacks
from streamapp.settings import KafkaSettings

SETTLE_TIMEOUT_S = 60
SETTLE_POLL_S = 0.02
LOGIN_TIMEOUT_S = 180.0  # a mounted secret takes up to two minutes to change
LOGIN_POLL_S = 0.5
ANSWER_S = 10
ANY = 1  # Kafka's number for any resource type, any kind of pattern, any operation, any permission

PREFIXED, ALLOW = 4, 3

# Kafka's numbers.
_KINDS = {2: "topic", 3: "group", 4: "cluster", 5: "transactional_id", 6: "delegation_token", 7: "user"}
_NAMED = ("ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS")
_OPERATIONS = dict(enumerate((*_NAMED, "ALTER_CONFIGS", "IDEMPOTENT_WRITE"), 2))
_RESOURCES = {_KINDS[kind.value]: kind for kind in ResourceType if kind.value in _KINDS}
_CHANGE = Right("ALTER", "cluster", CLUSTER)


class AccessAdmin(Admin):
    """Raises as `Admin` does; reading takes DESCRIBE on the cluster, adding and taking away ALTER."""

    def operations(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """Name → what we may do to the topic, in Kafka's words, of those that exist or that we may know nothing of."""
        wanted = TopicCollection(sorted(names))
        answers = self._client.describe_topics(
            wanted, include_authorized_operations=True, request_timeout=self._timeout_s
        )
        found = {}
        for name, answer in answers.items():
            try:
                topic = self._asked(f"describe {name}", answer.result, Right("DESCRIBE", "topic", name))
                found[name] = frozenset(operation.name for operation in topic.authorized_operations)
            except Missing:
                continue
            except Denied:
                found[name] = frozenset()
        return found

    def acls(self) -> frozenset[Acl]:
        """Every entry there is, of all principals, that every broker goes by."""
        return frozenset.intersection(*asyncio.run(self._of_every_broker()))

    def add(self, acls: Iterable[Acl]) -> None:
        """Add these entries; one that is there already stays."""
        bindings = [AclBinding(*_facts(acl)) for acl in acls]
        if bindings:
            for future in self._client.create_acls(bindings, request_timeout=self._timeout_s).values():
                self._asked("add to the access control lists", future.result, _CHANGE)

    def take_away(self, acls: Iterable[Acl]) -> None:
        """Take exactly these entries away, and none that is like them."""
        filters = [AclBindingFilter(*_facts(acl)) for acl in acls]
        if filters:
            for future in self._client.delete_acls(filters, request_timeout=self._timeout_s).values():
                self._asked("take away from the access control lists", future.result, _CHANGE)

    def await_in_force(self, there: Collection[Acl], gone: Collection[Acl] = ()) -> None:
        """Wait until every broker goes by `there` and no longer by `gone`. A controller answers before they do, some
        100 ms later; a client that comes meanwhile may be refused for good. Raises `Unavailable` after a minute.

        A broker answers with the lists that it decides by.
        """
        end_s = monotonic_s() + SETTLE_TIMEOUT_S
        while there or gone:
            seen = asyncio.run(self._of_every_broker())
            if all(one.issuperset(there) and one.isdisjoint(gone) for one in seen):
                return
            if monotonic_s() > end_s:
                raise Unavailable(f"Kafka took the changes, but does not go by them after {SETTLE_TIMEOUT_S} s")
            threading.Event().wait(SETTLE_POLL_S)

    async def _of_every_broker(self) -> list[frozenset[Acl]]:
        """The lists of each broker. aiokafka asks: librdkafka (2.16.1) chooses the broker, and takes a refusal for an
        empty list. Raises as every call."""
        request = DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY)
        try:
            async with asking(aiokafka_config(self._kafka), self._timeout_s) as client:
                nodes = [broker.nodeId for broker in client.cluster.brokers()]
                return [self._entries(await client.send(node, request)) for node in nodes]
        except ClientError as error:
            away = Unavailable(f"Kafka at {self._bootstrap} does not tell its access control lists: {error}")
            raise await asyncio.to_thread(disagreement, self._kafka) or away from None

    def _entries(self, answer: Any) -> frozenset[Acl]:
        if answer.error_code:
            error = KafkaError(answer.error_code)
            raise self._translated("list access control lists", error, Right("DESCRIBE", "cluster", CLUSTER))
        return frozenset(
            Acl(
                principal,
                _KINDS.get(kind, f"kind {kind}"),
                name,
                _OPERATIONS.get(operation, f"operation {operation}"),
                prefixed=pattern == PREFIXED,
                host=host,
                allow=permission == ALLOW,
            )
            for kind, name, pattern, acls in answer.resources
            for principal, host, operation, permission in acls
        )


def write_denied(kafka: KafkaSettings, topics: Iterable[str], timeout_s: float) -> Denied | None:
    """Which right to write to these topics is missing, as far as Kafka says. Producers (librdkafka 2.16.1) are not told
    of a topic that they may not describe, nor of the topic that a transaction may not write to."""
    names = tuple(topics)
    with suppress(Unavailable, Refused):
        may = AccessAdmin(kafka, timeout_s=timeout_s).operations(names)
        for name in names:
            if "WRITE" not in may.get(name, {"WRITE"}):
                return Denied(lacks(kafka.sasl_username, Right("WRITE", "topic", name)))
    return None


def planned(admin: AccessAdmin) -> AccessPlan:
    """What would make this cluster match the registry."""
    return plan(wanted(), (one.name for one in principals()), admin.acls())


def apply(admin: AccessAdmin) -> AccessPlan:
    """Plan, add what is missing, take nothing away, and return the plan; then every broker goes by it."""
    todo = planned(admin)
    admin.add(todo.changes)
    admin.await_in_force(todo.changes)
    return todo


def prune(admin: AccessAdmin, excess: Collection[Acl]) -> None:
    """Take away entries of our principals that `planned` found to be too much."""
    ours = {one.name for one in principals()}
    assert all(acl.user in ours and acl not in wanted() for acl in excess), "only what is too much, only of ours"
    admin.take_away(excess)
    admin.await_in_force((), excess)


def _facts(acl: Acl) -> tuple[Any, ...]:
    """An entry as librdkafka's lists have it."""
    pattern = ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL
    permission = AclPermissionType.ALLOW if acl.allow else AclPermissionType.DENY
    try:
        kind, operation = _RESOURCES[acl.kind], AclOperation[acl.operation]
    except KeyError:
        raise Refused(f"{acl}: this client has no word for it; use kafka-acls.sh") from None
    return kind, acl.name, pattern, acl.principal, acl.host, operation, permission


def session_ms(admin: Admin) -> int:
    """How long a session of PLAIN lives at most on any broker, in milliseconds; 0: for ever."""
    named = (item for configs in admin.broker_configs().values() for item in configs.items())
    every = [int(value) for name, value in named if name.endswith("connections.max.reauth.ms") and value.isdigit()]
    return max(every) if every and all(every) else 0


def await_let_in(kafka: KafkaSettings) -> int:
    """Log in to every broker; wait until each lets us in. Returns how many there are. Raises `Unavailable`."""
    end_s = monotonic_s() + LOGIN_TIMEOUT_S
    while not (count := asyncio.run(_logged_in(kafka))):
        if monotonic_s() > end_s:
            raise Unavailable(
                f"Kafka does not let {kafka.sasl_username} in with the new password after {LOGIN_TIMEOUT_S:g} s: is "
                "this the folder of users that its brokers read? The file that the service reads is as it was"
            )
        threading.Event().wait(LOGIN_POLL_S)
    return count


async def _logged_in(kafka: KafkaSettings) -> int:
    """How many brokers let us in; 0 when one of them does not, or is away."""
    try:
        async with asking(aiokafka_config(kafka), ANSWER_S) as client:
            nodes = [broker.nodeId for broker in client.cluster.brokers()]
            return len(nodes) if all([await client.ready(node) for node in nodes]) else 0
    except ClientError:
        return 0
