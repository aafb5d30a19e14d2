"""What is not as it must be on a cluster, beyond what a plan can say: names, ad-hoc topics, settings of the brokers.

Pure: what was read goes in, findings come out. Nothing here is mended by `streamapp topics apply`, except what is
missing or lower than registered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from streamapp.topics.names import group_name_problem, topic_name_problem
from streamapp.topics.plan import Create, Plan
from streamapp.topics.registry import GROUPS, TOPICS, offsets_retention_minutes

Kind = Literal[
    "missing",
    "drift",
    "unregistered_topic",
    "topic_name",
    "unregistered_group",
    "group_name",
    "auto_create",
    "offsets_retention",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

AUTO_CREATE = "auto.create.topics.enable"
OFFSETS_RETENTION = "offsets.retention.minutes"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cluster says: all topics and groups by name, and of each broker its settings by name."""

    topics: frozenset[str]
    groups: frozenset[str]
    brokers: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: where, what, and what a person can do."""

    kind: Kind
    name: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}; {self.advice}"


def findings(plan: Plan, seen: Seen) -> tuple[Finding, ...]:
    """Everything at once, in the order of `KINDS` within topics, groups and brokers."""
    return (*_planned(plan), *_topics(seen.topics), *_groups(seen.groups), *_brokers(seen.brokers))


def _planned(plan: Plan) -> Iterator[Finding]:
    for change in plan.changes:
        if isinstance(change, Create):
            yield Finding("missing", change.topic, "does not exist", "streamapp topics apply")
        else:
            yield Finding("drift", change.topic, f"is lower than registered ({change})", "streamapp topics apply")
    for drift in plan.drifts:
        yield Finding("drift", drift.topic, drift.what, drift.advice)


def unregistered_topics(names: Iterable[str]) -> list[str]:
    """Those of these topics that nobody registered; Kafka's own are not ours to register."""
    foreign = set(names) - {item.name for item in TOPICS}
    return sorted(name for name in foreign if not name.startswith("__"))


def unregistered_groups(names: Iterable[str]) -> list[str]:
    """The same of consumer groups. Readers of event topics by other teams have a group of their own name."""
    known = {item.name for item in GROUPS} | {reader for item in TOPICS for reader in item.consumers}
    return sorted(set(names) - known)


def _topics(names: Iterable[str]) -> Iterator[Finding]:
    owners = frozenset(item.name for item in GROUPS)
    for name in unregistered_topics(names):
        yield Finding(
            "unregistered_topic",
            name,
            "is a topic that nobody registered",
            "add it to streamapp/topics/registry.py, or delete it once nobody uses it",
        )
        problem = topic_name_problem(name, owners)
        if problem:
            yield Finding(
                "topic_name", name, f"breaks the naming convention: {problem}", "use <domain>_<entity>_<action>"
            )


def _groups(names: Iterable[str]) -> Iterator[Finding]:
    for name in unregistered_groups(names):
        yield Finding(
            "unregistered_group",
            name,
            "is a consumer group that nobody registered",
            "add it to streamapp/topics/registry.py, or stop it and delete it: kafka-consumer-groups.sh --delete",
        )
        problem = group_name_problem(name)
        if problem:
            yield Finding("group_name", name, f"breaks the naming convention: {problem}", "use <function>-<action>")


def _brokers(brokers: Mapping[int, Mapping[str, str]]) -> Iterator[Finding]:
    least = offsets_retention_minutes()
    for number, configs in sorted(brokers.items()):
        name = f"broker {number}"
        auto, minutes = configs.get(AUTO_CREATE, "unknown"), configs.get(OFFSETS_RETENTION, "unknown")
        if auto != "false":
            yield Finding(
                "auto_create",
                name,
                f"{AUTO_CREATE}={auto}: a misspelt name becomes a topic",
                f"set {AUTO_CREATE}=false in its server.properties and restart it",
            )
        if not minutes.isdigit() or int(minutes) < least:
            yield Finding(
                "offsets_retention",
                name,
                f"{OFFSETS_RETENTION}={minutes}, the longest retention of a topic is {least}: a group that stands "
                "still loses its place while its records are still there",
                f"set {OFFSETS_RETENTION}={least} in its server.properties and restart it",
            )
