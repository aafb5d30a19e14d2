"""What `streamapp cluster` asks of Kafka beside `Admin`: where replicas are, who leads, and what throttles them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from confluent_kafka import ElectionType, KafkaError, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from streamapp.access.acl import CLUSTER
from streamapp.kafka.admin import Admin
from streamapp.kafka.partitions import Partition
from streamapp.kafka.trouble import Right

_ALTER = Right("ALTER", "cluster", CLUSTER)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Of one partition: the nodes that have it, the preferred leader first; those in sync; who leads, -1: nobody."""

    nodes: tuple[int, ...]
    in_sync: frozenset[int]
    leader: int


class ClusterAdmin(Admin):
    """The same cluster, for those who may change it."""

    def replicas(self) -> tuple[frozenset[int], dict[Partition, Replicas]]:
        """The brokers that are there, and every partition of every topic."""
        seen = self._metadata()
        rows = {
            (name, number): Replicas(tuple(part.replicas), frozenset(part.isrs), part.leader)
            for name, topic in seen.topics.items()
            for number, part in topic.partitions.items()
        }
        return frozenset(seen.brokers), rows

    def elect_preferred(self, partitions: Iterable[Partition]) -> None:
        """Give each partition back to its preferred leader; one that has it already stays."""
        wanted = [TopicPartition(topic, number) for topic, number in partitions]
        future = self._client.elect_leaders(ElectionType.PREFERRED, wanted)  # confluent-kafka 2.16.1 takes no time-out
        self._asked("elect preferred leaders", future.result, _ALTER, done=KafkaError.ELECTION_NOT_NEEDED)

    def cluster_id(self) -> str:
        """As `kafka-storage format` takes it."""
        return str(self._metadata().cluster_id)

    def unset(self, kind: ConfigResource.Type, name: str, settings: Collection[str]) -> None:
        """Take settings away from a topic or a broker: those above them, or the defaults, are in force again."""
        entries = [ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in settings]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        future = self._client.incremental_alter_configs([resource], request_timeout=self._timeout_s)[resource]
        right = Right("ALTER_CONFIGS", kind.name.lower(), name)
        self._asked(f"unset {', '.join(settings)} of {kind.name.lower()} {name}", future.result, right)

    def unthrottle(self, topics: Iterable[str], nodes: Iterable[int]) -> None:
        """End every throttle of replication that a reassignment left."""
        lists = [f"{side}.replication.throttled.replicas" for side in ("leader", "follower")]
        rates = [f"{side}.replication.throttled.rate" for side in ("leader", "follower")]
        for topic in topics:
            self.unset(ConfigResource.Type.TOPIC, topic, lists)
        for node in nodes:
            self.unset(ConfigResource.Type.BROKER, str(node), rates)
