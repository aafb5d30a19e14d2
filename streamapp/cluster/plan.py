"""A cluster as it is, and how many brokers are wanted → the steps between. Pure.

The order was verified under load (docs/adr/0057): voters in the log, new nodes one by one, replicas of every topic,
then what is acknowledged. A plan never takes a replica, a voter or a node away, and never begins while a node is down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

from streamapp.broker.quorum import BOOTSTRAP, VOTERS, WHY_NOT_STATIC, named_voters
from streamapp.cluster.steps import Kind, Step
from streamapp.kafka.cluster_admin import Replicas
from streamapp.kafka.partitions import Partition
from streamapp.topics.plan import REPLICAS_FOR_TWO

SHRINK = (
    "a broker is not taken away: its replicas must be moved to others first, and its vote taken away while a majority "
    "stays. With three brokers there is nowhere to move them: two brokers stop all writes at the next fault. Replace a "
    "broker that is lost instead: see docs/operations.md"
)
DEFAULTS: Mapping[str, int] = {
    "default.replication.factor": 3,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
}
"""Least settings of a node among three or more, for topics that are made later."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its own word and the quorum's. `directory`: the id of its metadata; "" before `kraft.version` 1.
    `lag`: how many records of the metadata log it lacks. `settings`: those in force; None: it is down.
    `lost`: the directory with which it is a voter still, and that it no longer has."""

    directory: str
    voter: bool
    lag: int
    settings: Mapping[str, str] | None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Have:
    """A cluster as it is. `dynamic`: `kraft.version` is 1. `in_sync`: topic → `min.insync.replicas` in force, and
    `default_in_sync` that of a topic that says nothing. `throttled`: topics whose replication is throttled; `slowed`:
    nodes with a throttle's rate."""

    cluster_id: str
    dynamic: bool
    nodes: Mapping[int, Node]
    partitions: Mapping[Partition, Replicas]
    in_sync: Mapping[str, int]
    default_in_sync: int
    throttled: frozenset[str] = frozenset()
    slowed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Want:
    """How many brokers, each a controller too: one, or three and more."""

    brokers: int

    @property
    def replicas(self) -> int:
        """Of every partition."""
        return min(self.brokers, REPLICAS_FOR_TWO)


def plan(have: Have, want: Want) -> tuple[Step, ...]:
    """What is left to do, in order; empty when the cluster is as wanted. Look at `refusals` first."""
    return (
        *(Step(Kind.RETURN, number) for number, node in sorted(have.nodes.items()) if node.settings is None),
        *(_quorum(have, want) if want.brokers > 1 else ()),
        *_replication(have, want),
        *(_defaults(have, want) if want.replicas >= REPLICAS_FOR_TWO else ()),
    )


def refusals(have: Have, want: Want) -> tuple[str, ...]:
    """Why nothing is done on this cluster, each a sentence or two."""
    return tuple(_refusals(have, want))


def _refusals(have: Have, want: Want) -> Iterator[str]:
    voters = {number for number, node in have.nodes.items() if node.voter}
    for number, node in sorted(have.nodes.items()):
        settings = node.settings or {}
        if strangers := set(named_voters(settings)) - voters:
            named = ", ".join(map(str, sorted(strangers)))
            yield f"node {number} has {VOTERS}={settings[VOTERS]}, and {named} is no voter. {WHY_NOT_STATIC}"
        if node.lost:
            yield (
                f"node {number} lost its disk: it runs with directory {node.directory}, and is a voter with "
                f"{node.lost}. Take that vote away: streamapp broker tool kafka-metadata-quorum remove-controller "
                f"--controller-id {number} --controller-directory-id {node.lost}"
            )
        roles = settings.get("process.roles", "broker,controller")
        if "controller" not in roles:
            yield f"node {number} has process.roles={roles}: this command knows nodes that are broker and controller"
    if len(have.nodes) > want.brokers:
        yield f"there are {len(have.nodes)} brokers, wanted are {want.brokers}: {SHRINK}"


def members(have: Have, want: Want) -> tuple[int, ...]:
    """The nodes that there will be: those that are there, and the least numbers that are free."""
    free = (number for number in range(len(have.nodes) + want.brokers) if number not in have.nodes)
    missing = max(0, want.brokers - len(have.nodes))
    return tuple(sorted([*have.nodes, *(next(free) for _ in range(missing))]))


def controllers(have: Have) -> tuple[str, ...]:
    """Where each voter's controller is asked, as its node says it."""
    told = {n: controller_of(node.settings) for n, node in have.nodes.items() if node.voter and node.settings}
    return tuple(address for _, address in sorted(told.items()) if address)


def controller_of(settings: Mapping[str, str]) -> str | None:
    """host:port of a node's controller, as others reach it."""
    names = settings.get("controller.listener.names", "CONTROLLER").split(",")
    for key in ("advertised.listeners", "listeners"):
        for listener in settings.get(key, "").split(","):
            name, _, address = listener.strip().partition("://")
            if name in names:
                return address
    return None


def _quorum(have: Have, want: Want) -> Iterator[Step]:
    if not have.dynamic:
        yield Step(Kind.UPGRADE_QUORUM)
    asked = controllers(have)
    for number, node in sorted(have.nodes.items()):
        if node.settings is not None and (node.settings.get(VOTERS) or not node.settings.get(BOOTSTRAP)):
            if behind := _behind(have):  # the node before it has come back, and is not whole yet
                yield Step(Kind.CATCH_UP, count=behind)
            yield Step(Kind.BOOTSTRAP, number, controllers=asked)
    there = members(have, want)
    for number in there:
        if number not in have.nodes:
            yield Step(Kind.START_NODE, number, controllers=asked, cluster_id=have.cluster_id, settings=_three(want))
    for number in there:
        if number not in have.nodes or not have.nodes[number].voter:
            yield Step(Kind.ADD_VOTER, number)


def _replication(have: Have, want: Want) -> Iterator[Step]:
    more = {
        partition: nodes
        for partition, now in sorted(have.partitions.items())
        if (nodes := replicas(partition, now.nodes, members(have, want), want.replicas)) != now.nodes
    }
    single = {topic for topic, number in more if len(have.partitions[topic, number].nodes) == 1}
    if held := tuple(sorted(topic for topic in single if have.in_sync[topic] > 1)):
        yield Step(Kind.HOLD_IN_SYNC, topics=held)
    if more:
        topics = tuple(sorted({topic for topic, _ in more}))
        yield Step(Kind.REASSIGN, topics=topics, replicas=more, count=len(more))
    behind = _behind(have)
    if more or behind:
        yield Step(Kind.CATCH_UP, count=behind or len(more))
    if more or have.throttled or have.slowed:
        topics, slowed = tuple(sorted(have.throttled)), tuple(sorted(have.slowed))
        yield Step(Kind.UNTHROTTLE, topics=topics, slowed=slowed)
    led = {partition: more.get(partition, now.nodes)[0] for partition, now in have.partitions.items()}
    if moved := tuple(
        sorted(partition for partition, node in led.items() if have.partitions[partition].leader != node)
    ):
        yield Step(Kind.ELECT, partitions=moved, count=len(moved))
    yield from _acknowledged(have, want, held)


def _behind(have: Have) -> int:
    """How many partitions have a replica that is not in sync."""
    return sum(len(now.in_sync) < len(now.nodes) for now in have.partitions.values())


def _acknowledged(have: Have, want: Want, held: tuple[str, ...]) -> Iterator[Step]:
    if want.replicas < REPLICAS_FOR_TWO:
        return  # all topics have three when this step comes
    low = {topic for topic, wanted in have.in_sync.items() if wanted < 2}.union(held)
    if low or have.default_in_sync < 2:
        yield Step(Kind.RAISE_IN_SYNC, topics=tuple(sorted(low)), new_topics=have.default_in_sync < 2)


def _three(want: Want) -> tuple[tuple[str, str], ...]:
    wanted = DEFAULTS.items() if want.replicas >= REPLICAS_FOR_TWO else ()
    return tuple((name, str(least)) for name, least in wanted)


def replicas(partition: Partition, now: tuple[int, ...], nodes: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    """Where a partition shall be; the first leads. Who has it keeps it; leaders go round the nodes."""
    if len(now) >= wanted:
        return now
    topic, number = partition
    first = (number + crc32(topic.encode())) % len(nodes)
    ring = nodes[first:] + nodes[:first]
    added = [node for node in ring if node not in now][: wanted - len(now)]
    return tuple(node for node in ring if node in now or node in added)


def _defaults(have: Have, want: Want) -> Iterator[Step]:
    for number in members(have, want):
        node = have.nodes.get(number)
        if node is not None and (low := lacking(node.settings)):
            settings = tuple((name, str(least)) for name, least in low.items())
            yield Step(Kind.SET_DEFAULTS, number, settings=settings)


def lacking(settings: Mapping[str, str] | None) -> dict[str, int]:
    """Of these settings of a node, the least values of those that are lower; none of a node that is down."""
    if settings is None:
        return {}
    return {name: least for name, least in DEFAULTS.items() if int(settings.get(name, "0")) < least}
