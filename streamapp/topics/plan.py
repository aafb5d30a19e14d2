"""Want and have → plan. Pure: the plan is a list that a person can read before anything is done.

A plan creates what is missing and raises partitions, retention and record size. It never shrinks, never deletes, and
never looks at a topic that is not registered, except at the few that must have as many replicas (`RAISED_ALONG`). A
table whose rows belong to no key follows its topic to any number of partitions. Whatever else differs is drift, for a
person to judge; all of it is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streamapp.topics.registry import Topic

MIN_IN_SYNC = "min.insync.replicas"
REPLICAS_FOR_TWO = 3
RAISED = frozenset({"retention.ms", "max.message.bytes", MIN_IN_SYNC})
"""Topic settings that a plan may raise: more is kept, larger is taken, more replicas must have it."""

RAISED_ALONG = ("__consumer_offsets", "__transaction_state", "__share_group_state")
"""Topics that nobody registers and no group goes on without: they need as many replicas as ours (decision 33)."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it. `configs` are the values in force, `overridden` those set on the topic itself.

    `replication_factor` and `in_sync` are those of the partition that has the fewest: replicas, and replicas in sync.
    While a partition is reassigned, Kafka counts its new replicas from the beginning, in sync or not.
    `written` says whether any record was ever written to it, where that was asked.
    """

    partitions: int
    replication_factor: int
    configs: Mapping[str, str]
    overridden: frozenset[str]
    in_sync: int
    topic_id: str = ""
    written: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """Create a missing topic."""

    topic: str
    partitions: int
    replication_factor: int
    configs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        configs = ", ".join(f"{name}={value}" for name, value in self.configs)
        return f"create {self.topic}: {self.partitions} partitions, {self.replication_factor} replicas, {configs}"


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """Raise the number of partitions."""

    topic: str
    now: int
    wanted: int

    def __str__(self) -> str:
        return f"raise partitions of {self.topic}: {self.now} → {self.wanted}"


@dataclass(frozen=True, slots=True)
class RaiseConfig:
    """Raise one number among a topic's settings."""

    topic: str
    name: str
    now: str
    wanted: str

    def __str__(self) -> str:
        return f"raise {self.name} of {self.topic}: {self.now} → {self.wanted}"


Change = Create | AddPartitions | RaiseConfig


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference that no plan touches: what it is, and what a person can do."""

    topic: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}; {self.advice}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what only a person may do."""

    changes: tuple[Change, ...] = ()
    drifts: tuple[Drift, ...] = ()

    @property
    def is_clean(self) -> bool:
        """The cluster is as the registry says."""
        return not self.changes and not self.drifts


def plan(topics: Iterable[Topic], have: Mapping[str, TopicState], replication_factor: int) -> Plan:
    """What makes the cluster match the registry, in the order of the registry; then what `RAISED_ALONG` needs."""
    topics = tuple(topics)
    grown = _Grown(topics, have)
    found: list[Change | Drift] = []
    for item in topics:
        now = have.get(item.name)
        if now is None:
            found.append(_create(item, grown, replication_factor, wanted_configs(item, replication_factor)))
            continue
        found += _partitions(item, now, grown)
        found += _replication(item, now, replication_factor)
        found += _configs(item, now, wanted_configs(item, now.replication_factor))
    for name in RAISED_ALONG:
        if name in have:
            found += _raised_along(name, have[name], replication_factor)
    return Plan(
        changes=tuple(item for item in found if not isinstance(item, Drift)),
        drifts=tuple(item for item in found if isinstance(item, Drift)),
    )


def wanted_configs(item: Topic, replicas: int) -> dict[str, str]:
    """Every setting that the registry gives this topic. `replicas`: those that it really has, or is created with.

    With three or more replicas, acknowledged means that two have it; with fewer, one must be enough (decision 33).
    """
    if item.retention_ms is None:
        configs = {"cleanup.policy": "compact"}
    else:
        configs = {"cleanup.policy": "delete", "retention.ms": str(item.retention_ms)}
    if replicas >= REPLICAS_FOR_TWO:
        configs[MIN_IN_SYNC] = "2"
    return {**configs, **dict(item.configs)}


class _Grown:
    """How many partitions each topic will have."""

    def __init__(self, topics: tuple[Topic, ...], have: Mapping[str, TopicState]) -> None:
        self.have = have
        self._topics = {item.name: item for item in topics}

    def rows_of(self, item: Topic) -> str | None:
        """The internal topic with rows that do not let this topic grow: keys would move away from them."""
        for table in self._topics.values():
            rows = self.have.get(table.name)
            bound = table.name == item.name or table.follows == item.name
            if bound and table.kind == "internal" and table.keyed and rows is not None and rows.written:
                return table.name
        return None

    def partitions(self, item: Topic) -> int:
        source = self._topics.get(item.follows or "")
        if source is not None and not item.keyed:
            return self.partitions(source)  # rows that belong to no key are at home with any number
        now = self.have.get(item.name)
        if now is None:
            return item.partitions
        raised = now.partitions < item.partitions and self.rows_of(item) is None
        return item.partitions if raised else now.partitions


def _create(item: Topic, grown: _Grown, replication_factor: int, configs: Mapping[str, str]) -> Change | Drift:
    source = grown.have.get(item.follows or "")
    if item.keyed and source is not None and source.partitions > item.partitions:
        # Created smaller than its source, it could not be put right later, once it has rows.
        return Drift(
            item.name,
            f"missing, and {item.follows} has {source.partitions} partitions instead of {item.partitions}",
            f"set {source.partitions} for both in the registry, then apply",
        )
    return Create(item.name, grown.partitions(item), replication_factor, tuple(sorted(configs.items())))


def _partitions(item: Topic, now: TopicState, grown: _Grown) -> Iterator[Change | Drift]:
    wanted = item.partitions if item.keyed else grown.partitions(item)
    whose = "the registry says" if wanted == item.partitions else f"{item.follows} has"
    if now.partitions > wanted:
        yield Drift(
            item.name,
            f"{now.partitions} partitions, {whose} {wanted}",
            "partitions cannot be taken away; raise the registry if they were added on purpose",
        )
    elif now.partitions < wanted:
        rows = grown.rows_of(item)
        if rows is not None:
            yield Drift(
                item.name,
                f"{now.partitions} partitions, {whose} {wanted}, and {rows} has rows",
                "needs repartition: the table's rows must move with their keys; partitions were not raised",
            )
        else:
            yield AddPartitions(item.name, now.partitions, wanted)


def _replication(item: Topic, now: TopicState, wanted: int) -> Iterator[Drift]:
    if now.replication_factor != wanted:
        yield Drift(
            item.name,
            f"{now.replication_factor} replicas, wanted are {wanted}",
            "add replicas with `streamapp cluster grow`, or set STREAM_KAFKA__REPLICATION_FACTOR",
        )


def _raised_along(topic: str, now: TopicState, wanted: int) -> Iterator[Change | Drift]:
    """More replicas than ours are right; so is every other setting: it is its owner's."""
    if now.replication_factor < wanted:
        yield Drift(
            topic,
            f"{now.replication_factor} replicas, wanted are {wanted}",
            "add replicas with `streamapp cluster grow` (docs/operations.md)",
        )
    if now.replication_factor >= REPLICAS_FOR_TWO and now.configs.get(MIN_IN_SYNC) == "1":
        yield _two_in_sync(topic, now)


def _two_in_sync(topic: str, now: TopicState) -> Change | Drift:
    if now.in_sync >= REPLICAS_FOR_TWO:
        return RaiseConfig(topic, MIN_IN_SYNC, "1", "2")
    # Raised now, acks=all would fail until the new replicas have caught up.
    return Drift(
        topic,
        f"{MIN_IN_SYNC}=1, wanted is 2, but a partition has {now.in_sync} replicas in sync",
        "wait until the reassignment is done or the broker is back, then apply",
    )


def _configs(item: Topic, now: TopicState, wanted: Mapping[str, str]) -> Iterator[Change | Drift]:
    for name, value in sorted(wanted.items()):
        have = now.configs.get(name, "unknown")
        if have == value:
            continue
        if name == MIN_IN_SYNC and have == "1":
            yield _two_in_sync(item.name, now)
        elif name in RAISED and _as_number(name, have) < _as_number(name, value):
            yield RaiseConfig(item.name, name, have, value)
        else:
            yield Drift(
                item.name,
                f"{name}={have}, the registry says {value}",
                f"change the registry, or: kafka-configs.sh --alter --topic {item.name} --add-config {name}={value}",
            )
    for name in sorted(now.overridden - set(wanted)):
        yield Drift(
            item.name,
            f"{name}={now.configs.get(name)} is set, the registry does not know it",
            f"add it to the registry, or: kafka-configs.sh --alter --topic {item.name} --delete-config {name}",
        )


def _as_number(name: str, value: str) -> float:
    if name == "retention.ms" and value == "-1":
        return float("inf")  # Kafka's word for ever
    return float(value) if value.lstrip("-").isdigit() else float("inf")
