"""The steps from one broker to several: what each does, why, and who does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from streamapp.broker.quorum import BOOTSTRAP, VOTERS
from streamapp.kafka.partitions import Partition


@dataclass(frozen=True, slots=True)
class Return:
    """A node that the cluster knows is down."""

    why: ClassVar = "nothing is changed while a node is down: the nodes that are left could lose the majority"
    by_operator: ClassVar = True
    node: int

    def __str__(self) -> str:
        return f"node {self.node} does not answer: start it again"


@dataclass(frozen=True, slots=True)
class UpgradeQuorum:
    """The feature that lets voters be added."""

    why: ClassVar = "with it the voters stand in the log, not in every node's file, and can be added one by one"
    by_operator: ClassVar = False

    def __str__(self) -> str:
        return "raise the feature kraft.version: 0 → 1"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A node whose file names voters still."""

    why: ClassVar = "the voters stand in the log now; a file that names others is how topics are lost"
    by_operator: ClassVar = True
    node: int
    controllers: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"node {self.node}: remove {VOTERS} from its server.properties, set "
            f"{BOOTSTRAP}={','.join(self.controllers)} and the controllers of the nodes that come, and restart it"
        )


@dataclass(frozen=True, slots=True)
class StartNode:
    """A node that is not there yet."""

    why: ClassVar = "a node that is formatted without controllers can only follow, never elect itself with an empty log"
    by_operator: ClassVar = True
    node: int
    cluster_id: str
    controllers: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        asked = f"{BOOTSTRAP}={','.join(self.controllers)}"
        rows = " ".join(f"{name}={value}" for name, value in self.settings)
        return (
            f"node {self.node}: set node.id={self.node} {asked} {rows} in its server.properties, and no {VOTERS}; "
            f"on its empty disk: kafka-storage format --cluster-id={self.cluster_id} --no-initial-controllers; start it"
        )


@dataclass(frozen=True, slots=True)
class AddVoter:
    """A node that follows becomes a voter."""

    why: ClassVar = "one at a time and caught up: a majority with the whole log is there all the time"
    by_operator: ClassVar = False
    node: int

    def __str__(self) -> str:
        return f"add node {self.node} to the voters of the quorum, once it has caught up"


@dataclass(frozen=True, slots=True)
class HoldInSync:
    """Topics whose one replica is less than what they ask for."""

    why: ClassVar = "with a second replica that still catches up, Kafka would refuse every write until it has"
    by_operator: ClassVar = False
    topics: tuple[str, ...]

    def __str__(self) -> str:
        return f"set min.insync.replicas=1 of {_some(self.topics)} until the new replicas have caught up"


@dataclass(frozen=True, slots=True)
class Reassign:
    """More replicas; those that are there stay."""

    why: ClassVar = "with one replica of __consumer_offsets a lost broker stops every group, whatever our topics have"
    by_operator: ClassVar = False
    nodes: Mapping[Partition, tuple[int, ...]]

    def __str__(self) -> str:
        topics = tuple(sorted({topic for topic, _ in self.nodes}))
        return f"add replicas, throttled, to {len(self.nodes)} partitions of {_some(topics)}"


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Replicas that are not in sync."""

    why: ClassVar = "an acknowledged record must stand on other nodes before anything relies on them"
    by_operator: ClassVar = False
    partitions: int

    def __str__(self) -> str:
        return f"wait until all replicas are in sync ({self.partitions} partitions are not)"


@dataclass(frozen=True, slots=True)
class Unthrottle:
    """What a reassignment leaves."""

    why: ClassVar = "a throttle that stays would keep a node that comes back from ever catching up"
    by_operator: ClassVar = False
    topics: tuple[str, ...]
    nodes: tuple[int, ...]

    def __str__(self) -> str:
        return "remove the throttle"


@dataclass(frozen=True, slots=True)
class Elect:
    """Leaders where they belong."""

    why: ClassVar = "the first node leads everything until then, the new ones nothing"
    by_operator: ClassVar = False
    partitions: tuple[Partition, ...]

    def __str__(self) -> str:
        return f"elect the preferred leaders of {len(self.partitions)} partitions"


@dataclass(frozen=True, slots=True)
class RaiseInSync:
    """Acknowledged means that two nodes have it."""

    why: ClassVar = "last, from the replicas that are there (decision 33): earlier, writes would fail"
    by_operator: ClassVar = False
    topics: tuple[str, ...]
    default: bool

    def __str__(self) -> str:
        of = [_some(self.topics)] if self.topics else []
        return f"set min.insync.replicas=2 of {' and of '.join([*of, *(['new topics'] if self.default else [])])}"


@dataclass(frozen=True, slots=True)
class SetDefaults:
    """A node's settings for topics that are made later."""

    why: ClassVar = "topics that are made later need as many replicas; one node at a time, with all in sync"
    by_operator: ClassVar = True
    node: int
    settings: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        rows = " ".join(f"{name}={value}" for name, value in self.settings)
        return f"node {self.node}: set {rows} in its server.properties and restart it"


Step = (
    Return
    | UpgradeQuorum
    | Bootstrap
    | StartNode
    | AddVoter
    | HoldInSync
    | Reassign
    | CatchUp
    | Unthrottle
    | Elect
    | RaiseInSync
    | SetDefaults
)


def subject(step: Step) -> tuple[str, int]:
    """What a step is about: the same step with other numbers is the same."""
    return type(step).__name__, getattr(step, "node", -1)


def _some(names: tuple[str, ...], shown: int = 3) -> str:
    if len(names) <= shown:
        return ", ".join(names)
    return f"{', '.join(names[:shown])} and {len(names) - shown} more topics"
