"""The steps from one broker to several: what each does, why, and who does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from streamapp.broker.quorum import BOOTSTRAP as SERVERS
from streamapp.broker.quorum import VOTERS
from streamapp.kafka.partitions import Partition

OURS, OPERATOR = False, True
NAMED = 3  # topics in a sentence


class Kind(Enum):
    """Name of a kind of step; who does it; what a person reads; why. {…} are a step's own words, see `Step.__str__`."""

    RETURN = (
        "Return",
        OPERATOR,
        "node {node} does not answer: start it again",
        "nothing is changed while a node is down: the nodes that are left could lose the majority",
    )
    UPGRADE_QUORUM = (
        "UpgradeQuorum",
        OURS,
        "raise the feature kraft.version: 0 → 1",
        "with it the voters stand in the log, not in every node's file, and can be added one by one",
    )
    BOOTSTRAP = (
        "Bootstrap",
        OPERATOR,
        f"node {{node}}: remove {VOTERS} from its server.properties, set {SERVERS}={{controllers}} and the "
        "controllers of the nodes that come, and restart it",
        "the voters stand in the log now; a file that names others is how topics are lost",
    )
    START_NODE = (
        "StartNode",
        OPERATOR,
        f"node {{node}}: set node.id={{node}} {SERVERS}={{controllers}} {{settings}} in its server.properties, and "
        f"no {VOTERS}; on its empty disk: kafka-storage format --cluster-id={{cluster_id}} --no-initial-controllers; "
        "start it",
        "a node that is formatted without controllers can only follow, never elect itself with an empty log",
    )
    ADD_VOTER = (
        "AddVoter",
        OURS,
        "add node {node} to the voters of the quorum, once it has caught up",
        "one at a time and caught up: a majority with the whole log is there all the time",
    )
    HOLD_IN_SYNC = (
        "HoldInSync",
        OURS,
        "set min.insync.replicas=1 of {topics} until the new replicas have caught up",
        "with a second replica that still catches up, Kafka would refuse every write until it has",
    )
    REASSIGN = (
        "Reassign",
        OURS,
        "add replicas, throttled, to {count} partitions of {topics}",
        "with one replica of __consumer_offsets a lost broker stops every group, whatever our topics have",
    )
    CATCH_UP = (
        "CatchUp",
        OURS,
        "wait until all replicas are in sync ({count} partitions are not)",
        "an acknowledged record must stand on other nodes before anything relies on them",
    )
    UNTHROTTLE = (
        "Unthrottle",
        OURS,
        "remove the throttle",
        "a throttle that stays would keep a node that comes back from ever catching up",
    )
    ELECT = (
        "Elect",
        OURS,
        "elect the preferred leaders of {count} partitions",
        "the first node leads everything until then, the new ones nothing",
    )
    RAISE_IN_SYNC = (
        "RaiseInSync",
        OURS,
        "set min.insync.replicas=2 of {topics}",
        "last, from the replicas that are there (decision 33): earlier, writes would fail",
    )
    SET_DEFAULTS = (
        "SetDefaults",
        OPERATOR,
        "node {node}: set {settings} in its server.properties and restart it",
        "topics that are made later need as many replicas; one node at a time, with all in sync",
    )

    def __init__(self, label: str, by_operator: bool, text: str, why: str) -> None:
        self.label, self.by_operator, self.text, self.why = label, by_operator, text, why


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and what it is about, as far as its kind asks for it.

    `replicas`: partition → its nodes. `count`: of partitions. `slowed`: nodes with a throttle. `new_topics`: those that
    are made later are meant as well.
    """

    kind: Kind
    node: int = -1
    controllers: tuple[str, ...] = ()
    cluster_id: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    topics: tuple[str, ...] = ()
    new_topics: bool = False
    replicas: Mapping[Partition, tuple[int, ...]] = field(default_factory=dict)
    partitions: tuple[Partition, ...] = ()
    count: int = 0
    slowed: tuple[int, ...] = ()

    def __str__(self) -> str:
        of = ([_some(self.topics)] if self.topics else []) + (["new topics"] if self.new_topics else [])
        return self.kind.text.format(
            node=self.node,
            controllers=",".join(self.controllers),
            cluster_id=self.cluster_id,
            settings=" ".join(f"{name}={value}" for name, value in self.settings),
            topics=" and of ".join(of),
            count=self.count,
        )

    @property
    def subject(self) -> tuple[Kind, int]:
        """What it is about: the same step with other numbers is the same."""
        return self.kind, self.node


def _some(names: tuple[str, ...]) -> str:
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more topics"
