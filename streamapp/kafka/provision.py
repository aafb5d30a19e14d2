"""Topics of the registry on a cluster: read what is there, apply a plan."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from streamapp.clock import monotonic_s
from streamapp.errors import Unavailable
from streamapp.kafka.admin import Admin, TopicState
from streamapp.topics.findings import Finding, Seen, findings
from streamapp.topics.plan import AddPartitions, Change, Create, Have, Plan, RaiseConfig, plan
from streamapp.topics.registry import Topic

SETTLE_TIMEOUT_S = 60  # a controller on a busy machine publishes topics one after the other
SETTLE_POLL_S = 0.05


def have(admin: Admin, topics: Iterable[Topic]) -> dict[str, Have]:
    """What the cluster has of these topics. Asks for no other topic's state."""
    states = admin.describe(item.name for item in topics)
    partitions = [(state.name, n) for state in states.values() for n in range(state.partitions)]
    ends = admin.end_offsets(partitions)
    written = {name for (name, _), offset in ends.items() if offset > 0}
    return {name: _have(state, name in written) for name, state in states.items()}


def planned(admin: Admin, topics: Iterable[Topic], replication_factor: int) -> Plan:
    """What would make this cluster match the registry."""
    topics = tuple(topics)
    return plan(topics, have(admin, topics), replication_factor)


def checked(admin: Admin, topics: Iterable[Topic], replication_factor: int) -> tuple[Finding, ...]:
    """Everything that is not as it must be. Reads all names and the brokers' settings besides what a plan reads.

    Raises what `Admin` raises: `Misconfigured` when it may not read (it needs DescribeConfigs on the cluster).
    """
    seen = Seen(admin.topics(), admin.groups(), admin.broker_configs())
    return findings(planned(admin, topics, replication_factor), seen)


def apply(admin: Admin, topics: Iterable[Topic], replication_factor: int) -> Plan:
    """Plan, do every change, and return the plan; when it returns, the cluster shows them done.

    A failure leaves the changes before it done; calling again goes on from there.
    """
    topics = tuple(topics)
    todo = planned(admin, topics, replication_factor)
    for change in todo.changes:
        _do(admin, change)
    _await_done(admin, topics, replication_factor, todo.changes)
    return todo


def _do(admin: Admin, change: Change) -> None:
    match change:
        case Create(topic, partitions, replication_factor, configs):
            admin.create(topic, partitions, replication_factor, dict(configs))
        case AddPartitions(topic, _, wanted):
            admin.add_partitions(topic, wanted)
        case RaiseConfig(topic, name, _, wanted):
            admin.set_configs(topic, {name: wanted})


def _await_done(admin: Admin, topics: tuple[Topic, ...], replication_factor: int, done: tuple[Change, ...]) -> None:
    # A controller answers before every broker has heard of it; a second plan must not find the first one's work.
    end_s = monotonic_s() + SETTLE_TIMEOUT_S
    while done and (left := planned(admin, topics, replication_factor).changes):
        if monotonic_s() > end_s:
            raise Unavailable(f"Kafka took the changes, but does not show them after {SETTLE_TIMEOUT_S} s: {left[0]}")
        threading.Event().wait(SETTLE_POLL_S)


def _have(state: TopicState, written: bool) -> Have:
    return Have(
        partitions=state.partitions,
        replication_factor=state.replication_factor,
        configs=state.configs,
        overridden=state.overridden,
        written=written,
        in_sync=state.in_sync,
    )
