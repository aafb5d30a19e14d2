"""A cluster as a value that steps change, for tests of the planner: what Kafka does and must not be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamapp.broker.quorum import BOOTSTRAP, VOTERS
from streamapp.cluster.grow import CAUGHT_UP, Progress
from streamapp.cluster.plan import DEFAULTS, Have, Node
from streamapp.cluster.steps import Kind, Step
from streamapp.kafka.cluster_admin import Replicas


class Killed(Exception):
    """The process that grows the cluster was ended."""


def settings(number: int, **more: str) -> dict[str, str]:
    return {"node.id": str(number), "listeners": f"CONTROLLER://node-{number}:9094", **more}


class ModelCluster:
    """`kill(step)`: whether a step of ours is ended in the middle. `check` is called after each change."""

    def __init__(self, have: Have, kill: Callable[[Step], bool]) -> None:
        self.have = have
        self._kill = kill

    def seen(self, step: Step | None = None) -> Have:
        """Time passes: a node follows, one replica catches up."""
        nodes = {n: replace(node, lag=max(0, node.lag - CAUGHT_UP)) for n, node in self.have.nodes.items()}
        rows = dict(self.have.partitions)
        up = {n for n, node in nodes.items() if node.settings is not None}
        for key, now in sorted(rows.items()):
            if missing := sorted(set(now.nodes) & up - now.in_sync):
                rows[key] = replace(now, in_sync=now.in_sync | {missing[0]})
                break
        self._become(replace(self.have, nodes=nodes, partitions=rows))
        return self.have

    def operator(self, progress: Progress) -> None:
        """What a person does who reads the steps."""
        step, node = progress.step, progress.step.node
        if progress.left:
            return
        match step.kind:
            case Kind.RETURN:
                self._node(node, settings=settings(node, **{BOOTSTRAP: "x:1"}))
            case Kind.BOOTSTRAP:
                self._restart(node)
                kept = {k: v for k, v in (self.have.nodes[node].settings or {}).items() if k != VOTERS}
                self._node(node, settings={**kept, BOOTSTRAP: "x:1"})
            case Kind.START_NODE:
                own = settings(node, **{BOOTSTRAP: "x:1"}, **dict(step.settings))
                new = Node(f"directory-{node}", False, 25, own)
                self._become(replace(self.have, nodes={**self.have.nodes, node: new}))
            case Kind.SET_DEFAULTS:
                for now in self.have.partitions.values():  # it is away for a moment
                    assert len(now.in_sync - {node}) >= 2
                self._node(node, settings={**(self.have.nodes[node].settings or {}), **dict(step.settings)})

    def _restart(self, node: int) -> None:
        """Before it every replica is in sync; after it this node's are behind, where writes can do without them."""
        rows = dict(self.have.partitions)
        for key, now in rows.items():
            assert now.in_sync == set(now.nodes), f"node {node} is restarted while {key} is behind"
            if len(now.in_sync) > max(1, self.have.in_sync[key[0]]):
                rows[key] = replace(now, in_sync=now.in_sync - {node})
        self._become(replace(self.have, partitions=rows))

    def do(self, step: Step, have: Have, throttle: int) -> None:
        part = self._kill(step)
        self._do(step, part)
        if part:
            raise Killed

    def _do(self, step: Step, part: bool) -> None:
        half = slice(0, 1) if part else slice(None)
        match step.kind:
            case Kind.UPGRADE_QUORUM:
                nodes = {n: replace(x, directory=f"directory-{n}") for n, x in self.have.nodes.items()}
                self._become(replace(self.have, dynamic=True, nodes=nodes))
            case Kind.ADD_VOTER:
                assert all(one.settings is not None for one in self.have.nodes.values())
                assert self.have.dynamic
                assert self.have.nodes[step.node].lag <= CAUGHT_UP
                self._node(step.node, voter=True)
            case Kind.HOLD_IN_SYNC:
                self._become(replace(self.have, in_sync={**self.have.in_sync, **dict.fromkeys(step.topics[half], 1)}))
            case Kind.REASSIGN:
                self._reassign(dict(list(step.replicas.items())[half]))
            case Kind.UNTHROTTLE:
                left = self.have.throttled - set(step.topics[half])
                self._become(replace(self.have, throttled=left, slowed=self.have.slowed - set(step.slowed[half])))
            case Kind.ELECT:
                rows = dict(self.have.partitions)
                for key in step.partitions[half]:
                    if rows[key].nodes[0] in rows[key].in_sync:
                        rows[key] = replace(rows[key], leader=rows[key].nodes[0])
                self._become(replace(self.have, partitions=rows))
            case Kind.RAISE_IN_SYNC:
                raised = {**self.have.in_sync, **dict.fromkeys(step.topics[half], 2)}
                least = 2 if step.new_topics and not part else self.have.default_in_sync
                self._become(replace(self.have, in_sync=raised, default_in_sync=least))

    def _reassign(self, nodes: dict[tuple[str, int], tuple[int, ...]]) -> None:
        rows = dict(self.have.partitions)
        for key, to in nodes.items():
            assert set(rows[key].nodes) <= set(to)
            rows[key] = Replicas(to, rows[key].in_sync, rows[key].leader)
        throttled = self.have.throttled | {topic for topic, _ in nodes}
        self._become(replace(self.have, partitions=rows, throttled=throttled, slowed=frozenset(self.have.nodes)))

    def _node(self, number: int, **changes: object) -> None:
        one: Node = replace(self.have.nodes[number], **changes)  # type: ignore[arg-type]
        self._become(replace(self.have, nodes={**self.have.nodes, number: one}))

    def _become(self, now: Have) -> None:
        """Writes that went on before go on: no partition asks for more replicas in sync than it has."""
        for key, was in self.have.partitions.items():
            assert set(was.nodes) <= set(now.partitions[key].nodes)
            if writable(self.have, key):
                assert writable(now, key), f"writes to {key} stop"
        assert sum(n.voter for n in now.nodes.values()) - sum(n.voter for n in self.have.nodes.values()) <= 1
        self.have = now


def writable(have: Have, key: tuple[str, int]) -> bool:
    """Whether acks=all is answered: Kafka asks for no more than the replicas that a partition has."""
    now = have.partitions[key]
    return len(now.in_sync) >= min(have.in_sync[key[0]], len(now.nodes))


ALL = {name: str(least) for name, least in DEFAULTS.items()}
