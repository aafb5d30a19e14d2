"""A running cluster: what it says of itself, and the steps of ours.

The quorum is asked and changed by Kafka's own tools, because no client of Python speaks those requests; everything
else by `ClusterAdmin`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamapp.broker import tools
from streamapp.broker.broker import tool_command
from streamapp.cluster.plan import Have, Node
from streamapp.cluster.steps import Kind, Step
from streamapp.errors import Refused, Unavailable
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.cluster_admin import ClusterAdmin
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings
from streamapp.topics.plan import MIN_IN_SYNC

NO_DIRECTORY = "AAAAAAAAAAAAAAAAAAAAAA"  # in the place of a directory's id, before kraft.version 1
THROTTLED = "leader.replication.throttled.replicas"
RATE = "leader.replication.throttled.rate"
TOOL_S = 120.0
OF_QUORUM = {Kind.RETURN, Kind.UPGRADE_QUORUM, Kind.BOOTSTRAP, Kind.START_NODE, Kind.ADD_VOTER}


@dataclass(frozen=True, slots=True)
class Seat:
    """A node in the quorum. `lost`: the directory with which it is a voter still, and that it no longer has."""

    directory: str
    voter: bool
    lag: int
    lost: str = ""


class Live:
    """The cluster of these settings. Raises as `Admin` does, and `Refused` with a tool's own words."""

    def __init__(self, kafka: KafkaSettings, cache_dir: Path) -> None:
        self.admin = ClusterAdmin(kafka)
        self._client = confluent_config(kafka)
        self._cache_dir = cache_dir
        self._quorum: dict[int, Seat] = {}

    def seen(self, step: Step | None = None) -> Have:
        """The cluster as it is. `step`: what is waited for; where it is not of the quorum, that is not asked again."""
        if step is None or step.kind in OF_QUORUM or not self._quorum:
            self._quorum = quorum(self._tool("kafka-metadata-quorum", "describe", "--replication"))
        there, partitions = self.admin.replicas()
        settings = self.admin.broker_configs()
        topics = self.admin.describe({topic for topic, _ in partitions})
        default = min((int(rows.get(MIN_IN_SYNC, "1")) for rows in settings.values()), default=1)
        known = {*self._quorum, *there, *(node for now in partitions.values() for node in now.nodes)}
        nodes = {}
        for number in known:
            seat = self._quorum.get(number, Seat("", False, 0))
            nodes[number] = Node(seat.directory, seat.voter, seat.lag, settings.get(number), seat.lost)
        return Have(
            cluster_id=self.admin.cluster_id(),
            dynamic=any(node.directory for node in nodes.values() if node.voter),
            nodes=nodes,
            partitions={key: now for key, now in partitions.items() if key[0] in topics},
            in_sync={
                name: int(topic.configs[MIN_IN_SYNC]) if MIN_IN_SYNC in topic.overridden else default
                for name, topic in topics.items()
            },
            default_in_sync=default,
            throttled=frozenset(name for name, topic in topics.items() if topic.configs.get(THROTTLED)),
            slowed=frozenset(number for number, rows in settings.items() if rows.get(RATE, "None") != "None"),
        )

    def do(self, step: Step, have: Have, throttle: int) -> None:
        """Do a step of ours; nothing for those of an operator, or that only take time. `throttle`: bytes a second and
        node, of a reassignment."""
        match step.kind:
            case Kind.UPGRADE_QUORUM:
                self._tool("kafka-features", "upgrade", "--feature", "kraft.version=1")
            case Kind.ADD_VOTER:
                self._add_voter(step.node, have)
            case Kind.HOLD_IN_SYNC:
                self._in_sync(step.topics, "1")
            case Kind.REASSIGN:
                self._reassign(step.replicas, throttle)
            case Kind.UNTHROTTLE:
                self.admin.unthrottle(step.topics, step.slowed)
            case Kind.ELECT:
                self.admin.elect_preferred(step.partitions)
            case Kind.RAISE_IN_SYNC:
                self._in_sync(step.topics, "2")
                if step.new_topics:
                    # librdkafka cannot name all brokers at once.
                    of_all = ("--alter", "--entity-type", "brokers", "--entity-default")
                    self._tool("kafka-configs", *of_all, "--add-config", f"{MIN_IN_SYNC}=2")

    def _in_sync(self, topics: tuple[str, ...], value: str) -> None:
        for topic in topics:
            self.admin.set_configs(topic, {MIN_IN_SYNC: value})

    def _reassign(self, nodes: Mapping[Partition, tuple[int, ...]], throttle: int) -> None:
        rows = [{"topic": topic, "partition": n, "replicas": list(to)} for (topic, n), to in nodes.items()]
        with tempfile.TemporaryDirectory(prefix="streamapp-") as folder:
            file = Path(folder) / "replicas.json"
            file.write_text(json.dumps({"version": 1, "partitions": rows}))
            how = ("--additional", "--execute", "--throttle", str(throttle))
            self._tool("kafka-reassign-partitions", *how, "--reassignment-json-file", str(file))

    def _add_voter(self, node: int, have: Have) -> None:
        """As `add-controller` on the node itself would: the tool reads a node's files, and these are like its own."""
        one = have.nodes[node]
        assert one.settings is not None
        names = ("process.roles", "controller.listener.names", "listeners", "advertised.listeners")
        told = {name: value for name in names if (value := one.settings.get(name, "None")) != "None"}
        with tempfile.TemporaryDirectory(prefix="streamapp-") as folder:
            meta = {"version": "1", "node.id": str(node), "directory.id": one.directory, "cluster.id": have.cluster_id}
            tools.write_private(Path(folder) / "meta.properties", meta)
            config = Path(folder) / "node.properties"
            own = {"node.id": str(node), "log.dirs": folder, **told}
            tools.write_private(config, {**tools.properties(self._client), **own})
            self._tool("kafka-metadata-quorum", "--command-config", str(config), "add-controller")

    def _tool(self, name: str, *arguments: str) -> str:
        """What one of Kafka's scripts prints."""
        command = tool_command(self._cache_dir, dict(tools.TOOLS)[name])
        try:
            done = tools.run(command, self._client, arguments, capture_output=True, text=True, timeout=TOOL_S)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{name} {' '.join(arguments)} did not end within {TOOL_S:g} s; call again") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            reason = next((line for line in said if "Exception" in line or "rror" in line), said[-1] if said else "")
            away = any(word in reason for word in ("Timeout", "timed out", "Disconnect", "NotController", "NOT_LEADER"))
            raise (Unavailable if away else Refused)(f"{name} {arguments[-1]}: {reason}")
        return str(done.stdout)


def quorum(table: str) -> dict[int, Seat]:
    """Node → what `describe --replication` says of it. A node with two directories runs with the one that fetched last;
    the other is a vote that it lost with its disk, or an observer that is soon forgotten."""
    rows = sorted((line.split() for line in table.splitlines() if line[:1].isdigit()), key=lambda row: int(row[4]))
    found: dict[int, Seat] = {}
    for row in rows:
        number, directory = int(row[0]), "" if row[1] == NO_DIRECTORY else row[1]
        before = found.get(number)
        lost = "" if before is None else before.directory if before.voter else before.lost
        found[number] = Seat(directory, row[-1] != "Observer", int(row[3]), lost)
    return found
