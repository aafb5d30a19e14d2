"""Topics of the registry on a cluster: read what is there, apply a plan."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from confluent_kafka import KafkaError

from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Misconfigured, Refused, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.trouble import Forbidden
from streamapp.topics.findings import Finding, Seen, findings
from streamapp.topics.plan import RAISED_ALONG, AddPartitions, Change, Create, Plan, RaiseConfig, TopicState, plan
from streamapp.topics.registry import Topic

SETTLE_TIMEOUT_S = 60  # a controller on a busy machine publishes topics one after the other
SETTLE_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Undone:
    """A change that Kafka refused: why, in Kafka's own words, and what a person can do."""

    change: Change
    why: str
    advice: str

    def __str__(self) -> str:
        return f"{self.change}: {self.why}"


class NotApplied(Misconfigured):
    """Kafka refused some changes of a plan. `done` holds the others, which are done, and the drifts."""

    def __init__(self, done: Plan, undone: tuple[Undone, ...]) -> None:
        self.done, self.undone = done, undone
        count = len(undone) + len(done.changes)
        lines = [f"Kafka refused {len(undone)} of {count} change{'' if count == 1 else 's'}"]
        lines += [f"! {item}" for item in undone]
        lines += dict.fromkeys(item.advice for item in undone)
        super().__init__("\n".join([*lines, "then run `streamapp topics apply` again: it does what is left"]))


def have(admin: Admin, topics: Iterable[Topic]) -> dict[str, TopicState]:
    """What the cluster has of these topics and of `RAISED_ALONG`. Asks for no other topic's state."""
    names = frozenset(item.name for item in topics)
    try:
        states = admin.describe(names.union(RAISED_ALONG))
    except Denied:
        states = admin.describe(names)  # who may not look at Kafka's own topics is told about ours
    partitions = [(name, n) for name in names.intersection(states) for n in range(states[name].partitions)]
    ends = admin.end_offsets(partitions)
    written = {name for (name, _), offset in ends.items() if offset > 0}
    return {name: replace(state, written=name in written or name not in names) for name, state in states.items()}


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

    A change that Kafka refuses does not keep the others from being done: at the end `NotApplied` names all that were
    refused. Any other failure leaves the changes before it done. Calling again goes on from there.
    """
    topics = tuple(topics)
    todo = planned(admin, topics, replication_factor)
    undone: list[Undone] = []
    for change in todo.changes:
        try:
            _do(admin, change)
        except (Denied, Forbidden, Refused) as error:
            undone.append(_undone(change, error, replication_factor))
    refused = frozenset(item.change for item in undone)
    done = tuple(change for change in todo.changes if change not in refused)
    _await_done(admin, topics, replication_factor, done, frozenset(map(_subject, refused)))
    if undone:
        raise NotApplied(Plan(done, todo.drifts), tuple(undone))
    return todo


def _do(admin: Admin, change: Change) -> None:
    match change:
        case Create(topic, partitions, replication_factor, configs):
            admin.create(topic, partitions, replication_factor, dict(configs))
        case AddPartitions(topic, _, wanted):
            admin.add_partitions(topic, wanted)
        case RaiseConfig(topic, name, _, wanted):
            admin.set_configs(topic, {name: wanted})


def _undone(change: Change, error: Denied | Forbidden | Refused, replication_factor: int) -> Undone:
    if isinstance(error, Denied):
        advice = "apply as the principal provisioner, or another user with CREATE, ALTER and ALTER_CONFIGS on topics"
        return Undone(change, str(error), advice)
    if isinstance(error, Refused):
        return Undone(change, str(error), "change what Kafka says, in the registry or on the cluster")
    return Undone(change, error.reason, _advice(change, error, replication_factor))


def _advice(change: Change, error: Forbidden, replication_factor: int) -> str:
    """What a person can do. A policy says what it wants in its own words only: the settings that it names are found
    there, and whether it is about replicas."""
    named = sorted(name for name in _configs_of(change) if name in error.reason)
    rest = error.reason
    for name in named:
        rest = rest.replace(name, "")
    about_replicas = error.code == KafkaError.INVALID_REPLICATION_FACTOR or "replica" in rest.lower()
    if isinstance(change, Create) and (about_replicas or not named):
        wanted = "the number of replicas that the cluster takes"
        return f"set STREAM_KAFKA__REPLICATION_FACTOR (now {replication_factor}) to {wanted}"
    names = ", ".join(named or _configs_of(change)) or "this"
    return f"the cluster forbids {names} as the registry has it: ask its owner to allow it"


def _configs_of(change: Change) -> tuple[str, ...]:
    match change:
        case Create(_, _, _, configs):
            return tuple(name for name, _ in configs)
        case RaiseConfig(_, name, _, _):
            return (name,)
    return ()


def _subject(change: Change) -> tuple[str, str, str]:
    """What a change is about, whatever it changes it to."""
    return type(change).__name__, change.topic, change.name if isinstance(change, RaiseConfig) else ""


def _await_done(
    admin: Admin,
    topics: tuple[Topic, ...],
    replication_factor: int,
    done: tuple[Change, ...],
    refused: frozenset[tuple[str, str, str]],
) -> None:
    # A controller answers before every broker has heard of it; a second plan must not find the first one's work.
    end_s = monotonic_s() + SETTLE_TIMEOUT_S
    while done:
        left = [item for item in planned(admin, topics, replication_factor).changes if _subject(item) not in refused]
        if not left:
            return
        if monotonic_s() > end_s:
            raise Unavailable(f"Kafka took the changes, but does not show them after {SETTLE_TIMEOUT_S} s: {left[0]}")
        threading.Event().wait(SETTLE_POLL_S)
