"""Who may do what in Kafka: derived from the registry (the standard's Access Control Lists; decisions 19 and 26).

Nobody has a right to more than it uses. The standard's rows come out as they stand there; the rows that it lacks follow
the same rules. Three kinds of principals:

- producers and readers of other teams: WRITE on their topic, or READ on it and on the group of their own name
- this project's workers, one principal per group
- tools that people and operators run, each with what its commands do
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from streamapp.access.acl import ANYTHING, CLUSTER, USER, Acl, resource
from streamapp.topics.plan import RAISED_ALONG
from streamapp.topics.registry import (
    EVENT_TOPICS,
    EVERYBODY_WRITES,
    GROUPS,
    INTERNAL_TOPICS,
    PAGES,
    REDRIVE_ID,
    REDRIVER,
    SCHEMA_REGISTRY,
    SCHEMA_REGISTRY_ID,
    SCHEMA_TOPIC,
    TOPICS,
    Group,
    group,
    transactional_ids,
)

CHECKED = (
    "llm-metrics-latency-changelog",
    "rpc-billing-rpc_hourly-changelog",
    "dead-letter-monitor-letters_done-changelog",
)
"""The changelogs that `streamapp verify` and `streamapp reconcile` read besides every event topic."""

RECONCILER, LAG_MONITOR, PROVISIONER, REPLAYER = "reconciler", "lag-monitor", "provisioner", "replay-operator"


class Principal(NamedTuple):
    """A user of Kafka: its name, which is that of its credential, and whose it is."""

    name: str
    about: str


@cache
def wanted() -> tuple[Acl, ...]:
    """Every entry there must be for our principals, each once, in the order of `principals`."""
    return tuple(dict.fromkeys(acl for one in principals() for acl in _rights(one.name)))


@cache
def principals() -> tuple[Principal, ...]:
    """Everybody whom Kafka lets in."""
    groups = {each.name for each in GROUPS}
    ours = {*groups, *EVERYBODY_WRITES, PAGES}
    writers = {name: topic for topic in EVENT_TOPICS for name in topic.producers if name not in ours}
    readers = {name: topic for topic in EVENT_TOPICS for name in topic.consumers if name not in groups}
    return (
        *(Principal(name, f"produces {topic.name}") for name, topic in writers.items()),
        *(Principal(name, f"reads {topic.name}, writes nothing but dead_letter") for name, topic in readers.items()),
        *(Principal(each.principal, f"worker of {each.name}") for each in GROUPS),
        Principal(PAGES, "the pages of every worker: STREAM_WEB__KAFKA_USERNAME"),
        Principal(REDRIVER, "streamapp dead-letters"),
        Principal(REPLAYER, "streamapp replay, streamapp repartition"),
        Principal(RECONCILER, "streamapp verify, reconcile, topics check, access plan and check"),
        Principal(LAG_MONITOR, "streamapp watch; reads no record"),
        Principal(PROVISIONER, "streamapp topics plan and apply"),
        Principal(SCHEMA_REGISTRY, "streamapp registry"),
    )


def of_group(name: str) -> tuple[Acl, ...]:
    """What the workers of a group may do, and need to. Raises KeyError."""
    return tuple(acl for acl in wanted() if acl.user == group(name).principal)


def topics_of(name: str) -> tuple[str, ...]:
    """The topics without which a worker of the group cannot work. Raises KeyError."""
    return tuple(dict.fromkeys(acl.name for acl in of_group(name) if acl.kind == "topic"))


def _rights(user: str) -> Iterator[Acl]:
    tools = {
        PAGES: _pages,
        REDRIVER: _redriver,
        REPLAYER: _replayer,
        RECONCILER: _reconciler,
        LAG_MONITOR: _lag_monitor,
        PROVISIONER: _provisioner,
        SCHEMA_REGISTRY: _schema_registry,
    }
    if user in tools:
        yield from tools[user]()
        return
    work = next((each for each in GROUPS if each.principal == user), None)
    yield from _foreign_service(user) if work is None else _worker(user, work)


def _foreign_service(user: str) -> Iterator[Acl]:
    for topic in EVENT_TOPICS:
        if user in topic.producers:
            yield _topic(user, topic.name, "WRITE")
        if user in topic.consumers:
            yield _topic(user, topic.name, "READ")
            yield Acl(USER + user, "group", user, "READ")
    yield _topic(user, "dead_letter", "WRITE")  # decision 19


def _worker(user: str, work: Group) -> Iterator[Acl]:
    yield from _work(user, work)
    for topic in INTERNAL_TOPICS:
        if work.name in topic.consumers and work.name not in topic.producers:
            yield _topic(user, topic.name, "READ")  # for its pages


def _work(user: str, work: Group) -> Iterator[Acl]:
    """What it takes to do a group's work; leaving any of it out stops a worker."""
    for name in work.topics:
        yield _topic(user, name, "READ")
    yield Acl(USER + user, "group", work.name, "READ")
    for name in work.to:
        yield _topic(user, name, "WRITE")
    for topic in INTERNAL_TOPICS:
        if work.name in topic.producers:
            yield _topic(user, topic.name, "READ")
            yield _topic(user, topic.name, "WRITE")
            yield _topic(user, topic.name, "DESCRIBE_CONFIGS")  # a changelog that forgets rows is refused
    for name in work.topics:
        yield Acl(USER + user, "transactional_id", transactional_ids(work.name, name), "WRITE", prefixed=True)
    yield _topic(user, "dead_letter", "WRITE")  # decision 19


def _pages() -> Iterator[Acl]:
    """How groups stand, the dead letters and what was done about them. An unmasked value is noted in audit_log."""
    yield _topic(PAGES, "dead_letter", "READ")
    for topic in INTERNAL_TOPICS:
        if REDRIVER in topic.producers:
            yield _topic(PAGES, topic.name, "READ")
    for topic in EVENT_TOPICS:
        if PAGES in topic.producers:
            yield _topic(PAGES, topic.name, "WRITE")
        elif topic.name != "dead_letter":
            yield _topic(PAGES, topic.name, "DESCRIBE")
    for each in GROUPS:
        yield Acl(USER + PAGES, "group", each.name, "DESCRIBE")


def _redriver() -> Iterator[Acl]:
    """Reads dead letters, sends their records again where they came from, and notes that it did."""
    yield _topic(REDRIVER, "dead_letter", "READ")
    for topic in INTERNAL_TOPICS:
        if REDRIVER in topic.producers:
            yield _topic(REDRIVER, topic.name, "READ")
            yield _topic(REDRIVER, topic.name, "WRITE")
    for topic in EVENT_TOPICS:
        if topic.name != "dead_letter":
            yield _topic(REDRIVER, topic.name, "WRITE")
    yield Acl(USER + REDRIVER, "transactional_id", REDRIVE_ID, "WRITE")


def _replayer() -> Iterator[Acl]:
    """Acts in a group's place while the group stands still. Raises the partitions of a table's changelog."""
    tables = [topic for topic in INTERNAL_TOPICS if topic.table is not None]
    for each in GROUPS:
        if any(each.name in topic.producers for topic in tables):
            yield from _work(REPLAYER, each)
    yield _topic(REPLAYER, "dead_letter", "READ")  # what a group refused counts in no recomputation
    for topic in tables:
        if topic.keyed:
            yield _topic(REPLAYER, topic.name, "ALTER")


def _reconciler() -> Iterator[Acl]:
    for topic in EVENT_TOPICS:
        yield _topic(RECONCILER, topic.name, "READ")
    for name in CHECKED:
        yield _topic(RECONCILER, name, "READ")
    for each in GROUPS:
        yield Acl(USER + RECONCILER, "group", each.name, "DESCRIBE")
    # What nobody registered is found only by who may see everything: names and settings, no record.
    yield _topic(RECONCILER, ANYTHING, "DESCRIBE")
    yield _topic(RECONCILER, ANYTHING, "DESCRIBE_CONFIGS")
    yield Acl(USER + RECONCILER, "cluster", CLUSTER, "DESCRIBE")
    yield Acl(USER + RECONCILER, "cluster", CLUSTER, "DESCRIBE_CONFIGS")


def _lag_monitor() -> Iterator[Acl]:
    """Names and numbers of all topics and groups, also of those that nobody registered; no record."""
    yield _topic(LAG_MONITOR, ANYTHING, "DESCRIBE")
    yield Acl(USER + LAG_MONITOR, "group", ANYTHING, "DESCRIBE")


def _provisioner() -> Iterator[Acl]:
    for topic in TOPICS:
        for operation in ("CREATE", "ALTER", "ALTER_CONFIGS"):
            yield _topic(PROVISIONER, topic.name, operation)
    for name in RAISED_ALONG:
        yield _topic(PROVISIONER, name, "DESCRIBE")
        yield _topic(PROVISIONER, name, "ALTER_CONFIGS")


def _schema_registry() -> Iterator[Acl]:
    for operation in ("READ", "WRITE", "DESCRIBE_CONFIGS"):  # a topic that forgets schemas is refused
        yield _topic(SCHEMA_REGISTRY, SCHEMA_TOPIC, operation)
    yield Acl(USER + SCHEMA_REGISTRY, "transactional_id", SCHEMA_REGISTRY_ID, "WRITE")


def _topic(user: str, name: str, operation: str) -> Acl:
    return Acl(USER + user, "topic", name, operation)


def matrix(acls: Iterable[Acl]) -> list[tuple[str, str, str]]:
    """Principal, resource and operations, one row for each resource of a principal, in the order of the entries."""
    rows: dict[tuple[str, str], list[str]] = {}
    for acl in acls:
        rows.setdefault((acl.user, resource(acl.kind, acl.name, acl.prefixed)), []).append(acl.operation)
    return [(user, what, ", ".join(operations)) for (user, what), operations in rows.items()]
