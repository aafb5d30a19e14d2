"""Every topic and consumer group there is (the standard's Topic Registry, Consumer Groups and Retention Policies).

Two classes of topics. *Event topics* are the standard's six; they keep records for a time. *Internal topics* hold the
rows of a table, `<group>-<table>-changelog`; they keep the last record of every key. Nothing else may be created.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

DAY_MS = 86_400_000
MIB = 1 << 20
MESSAGE_BYTES = 1_048_588  # Kafka's default
ROWS = "-changelog"  # how the name of a topic ends that holds a table's rows
EVERY_SERVICE, EVERY_GROUP = "every service", "every consumer group"
EVERYBODY_WRITES = (EVERY_SERVICE, EVERY_GROUP)  # no producer by name
REDRIVER = "dead-letter-redriver"  # whoever runs `streamapp dead-letters redrive` and `drop`
PAGES = "stream-pages"  # as whom the pages ask Kafka; unmasking writes audit_log
SCHEMA_TOPIC = "_schemas"  # the name that every schema registry gives it
SCHEMA_REGISTRY = "schema-registry"  # whoever runs `streamapp registry`
SCHEMA_REGISTRY_ID = "schema-registry"  # its transactional id, likewise: whoever starts to write takes over
REDRIVE_ID = "dead-letters-done"  # its transactional id: one writer at a time, who starts takes over
BATCH_HEAD = 128  # of a batch with one record: 61 bytes, and at most 36 of the record's own lengths


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it has to be. `retention_ms` is None for an internal topic: its rows do not expire by themselves.

    `configs` are Kafka's topic settings besides retention and cleanup. `follows` names the topic whose partition count
    an internal topic shares: partition n of the one holds the rows made from partition n of the other. `keyed`: the
    rows belong to keys, which must not move away from them. `table` names the table whose rows it holds.
    """

    name: str
    partitions: int
    retention_ms: int | None
    key: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    configs: tuple[tuple[str, str], ...] = ()
    follows: str | None = None
    keyed: bool = True
    table: str | None = None

    @property
    def kind(self) -> Literal["event", "internal"]:
        return "event" if self.retention_ms is not None else "internal"


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group; its name is the Faust app id. `consumers` is how many processes the standard foresees.
    `user`: what its workers are called in the standard's Access Control Lists, where that is not the group's name.
    `to` are the event topics that it writes, beside `dead_letter`."""

    name: str
    topics: tuple[str, ...]
    consumers: int
    purpose: str
    user: str = ""
    to: tuple[str, ...] = ()

    @property
    def principal(self) -> str:
        """The user that its workers are to Kafka."""
        return self.user or self.name


_IN_BASE64 = (("max.message.bytes", str(4 * MIB)),)  # a dead letter carries the rejected bytes, beside the reason
EVENT_TOPICS: tuple[Topic, ...] = (
    # name, partitions, retention, record key, producers beside groups (`Group.to`), consumers
    Topic("events_plugin_ingestion", 16, 7 * DAY_MS, "team_id", ("insights-capture",), ("analytics-ingest",)),
    Topic("llm_usage", 8, 14 * DAY_MS, "team_id", ("llm-gateway",), ("billing-agg", "llm-metrics", "analytics")),
    Topic("billing_events", 4, 30 * DAY_MS, "org_id", (), ("billing-ledger", "commerce", "reporting")),
    Topic(
        "audit_log", 4, 90 * DAY_MS, "org_id", ("iam-service", PAGES, EVERY_SERVICE), ("audit-archive", "compliance")
    ),
    Topic("agent_rpc_metering", 8, 7 * DAY_MS, "agent_id", ("bot-gateway",), ("rpc-billing",)),
    Topic("dead_letter", 1, 30 * DAY_MS, "source_topic", EVERYBODY_WRITES, ("dead-letter-monitor",), _IN_BASE64),
)

# Kafka compacts closed segments only: an hour keeps the log that a restore must read short at any traffic. A row may
# hold many models of one team-hour, and a record of remembered ids those of a whole chunk.
_CHANGELOG = (
    ("max.message.bytes", str(8 * MIB)),
    ("min.cleanable.dirty.ratio", "0.2"),
    ("segment.bytes", str(64 * MIB)),
    ("segment.ms", str(DAY_MS // 24)),
)


def changelog(group_name: str, table: str) -> str:
    """The name of the internal topic that holds a table's rows."""
    return f"{group_name}-{table}{ROWS}"


def keeps_rows(topic_name: str) -> bool:
    """Whether a topic is an internal one that holds a table's rows, by its name."""
    return topic_name.endswith(ROWS)


def transactional_ids(group_name: str, topic_name: str) -> str:
    """How the transactional ids begin with which a group's workers write; the partition's number follows."""
    return f"{group_name}-{topic_name}-"


def _table(group_name: str, table: str, follows: str, configs: tuple[tuple[str, str], ...] = _CHANGELOG) -> Topic:
    """The changelog of a group's table, made from the topic that it follows."""
    partitions = next(item.partitions for item in EVENT_TOPICS if item.name == follows)
    owner = (group_name,)
    name = changelog(group_name, table)
    return Topic(name, partitions, None, "row of the table", owner, owner, configs, follows, table=table)


def _batches(group_name: str, table: str, follows: str) -> Topic:
    """The same of a group that keeps records elsewhere in batches: three small rows a partition, without keys."""
    return replace(_table(group_name, table, follows, _CHANGELOG[1:]), keyed=False)


INTERNAL_TOPICS: tuple[Topic, ...] = (
    _table("billing-agg", "usage_hourly", follows="llm_usage"),
    _table("llm-metrics", "latency", follows="llm_usage"),
    _table("rpc-billing", "rpc_hourly", follows="agent_rpc_metering"),
    _table("dead-letter-monitor", "letters", follows="dead_letter", configs=_CHANGELOG[1:]),  # its rows are small
    _batches("audit-archive", "archive", follows="audit_log"),
    _batches("analytics-ingest", "ingest", follows="events_plugin_ingestion"),
    # How far the ledger's worker is, and its counts of refused records: no table, its rows are in the database.
    replace(_batches("billing-ledger", "kept", follows="billing_events"), table=None),
    Topic(
        # Which dead letters were sent again, or dropped, by whoever runs `streamapp dead-letters`.
        name="dead-letter-monitor-letters_done-changelog",
        partitions=1,
        retention_ms=None,
        key="id of the dead letter",
        producers=(REDRIVER,),
        consumers=("dead-letter-monitor",),
        configs=_CHANGELOG[1:],
        follows="dead_letter",
    ),
    Topic(
        # Schemas that were registered over HTTP, and settings of the registry (docs/schemas.md).
        name=SCHEMA_TOPIC,
        partitions=1,
        retention_ms=None,
        key="subject and version",
        producers=(SCHEMA_REGISTRY,),
        consumers=(SCHEMA_REGISTRY,),
    ),
)

TOPICS: tuple[Topic, ...] = EVENT_TOPICS + INTERNAL_TOPICS

GROUPS: tuple[Group, ...] = (
    Group(
        "billing-agg",
        ("llm_usage",),
        2,
        "Aggregate usage per team per hour, produce billing_events",
        "billing-aggregator",
        to=("billing_events",),
    ),
    Group("analytics-ingest", ("events_plugin_ingestion",), 4, "Write to the ClickHouse events table"),
    Group("audit-archive", ("audit_log",), 1, "Write to S3-compatible long-term storage", "audit-archiver"),
    Group("llm-metrics", ("llm_usage",), 2, "Compute real-time latency and throughput metrics for Prometheus"),
    Group(
        "rpc-billing",
        ("agent_rpc_metering",),
        2,
        "Aggregate agent RPC usage for settlement (HIP-25)",
        to=("billing_events",),
    ),
    Group("dead-letter-monitor", ("dead_letter",), 1, "Alert on failed events, page the people on duty"),
    Group("billing-ledger", ("billing_events",), 1, "Keep every bill and its revisions in the ledger"),
)


def topic(name: str) -> Topic:
    """The registered topic. Raises KeyError."""
    return _BY_NAME[name]


def message_bytes_max(name: str) -> int:
    """How many bytes a record of a topic may have, with its key: `max.message.bytes` without the head of its batch."""
    item = _BY_NAME.get(name)
    limit = dict(item.configs).get("max.message.bytes") if item is not None else None
    return (MESSAGE_BYTES if limit is None else int(limit)) - BATCH_HEAD


def offsets_retention_minutes() -> int:
    """The least `offsets.retention.minutes` of a broker: the longest retention of a topic (decision 34)."""
    return max(item.retention_ms or 0 for item in EVENT_TOPICS) // 60_000


def group(name: str) -> Group:
    """The registered group. Raises KeyError."""
    return _GROUPS_BY_NAME[name]


def writers(topic_name: str) -> tuple[str, ...]:
    """Who writes a topic: our groups, then others."""
    return *(one.name for one in GROUPS if topic_name in one.to), *topic(topic_name).producers


def markers_max(topic_name: str) -> int:
    """How many offsets behind the last record of a partition may hold nothing but the end of a transaction: one of each
    transactional id that may write the topic."""
    ours = (one for one in GROUPS if topic_name not in one.topics)
    writing = [one for one in ours if topic_name in one.to or EVERY_GROUP in topic(topic_name).producers]
    redriven = topic_name in {item.name for item in EVENT_TOPICS} and topic_name != "dead_letter"
    return sum(topic(read).partitions for one in writing for read in one.topics) + redriven


def tables() -> dict[str, Topic]:
    """Table → the internal topic that holds its rows. Its only producer is the group that keeps the table."""
    return {item.table: item for item in INTERNAL_TOPICS if item.table is not None}


def port_offset(group_name: str) -> int:
    """How far a group's web ports lie behind STREAM_WEB__PORT, so that groups on one host do not meet."""
    return 10 * [item.name for item in GROUPS].index(group_name)


_BY_NAME = {item.name: item for item in TOPICS}
_GROUPS_BY_NAME = {item.name: item for item in GROUPS}
