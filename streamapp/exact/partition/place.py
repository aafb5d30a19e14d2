"""Where a task works, and what it writes with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamapp.clock import Entropy, entropy
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.topics.partitioner import partition_for


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition stands in its cluster.

    `outputs` gives the partition count of every topic that statements and dead letters go to. `folder` is the worker's,
    for files that need not outlive it; None: there is none. `entropy` makes the secret of a table that has none yet.
    """

    group: str
    topic: str
    partition: int
    topic_id: str
    partitions: int
    outputs: dict[str, int]
    folder: Path | None = None
    entropy: Entropy = entropy

    def record(self, topic: str, key: bytes, value: bytes) -> Send:
        """A record for one of the outputs, on the partition where its key belongs."""
        return Send(topic, partition_for(key, self.outputs[topic]), key, value)


class Producer(Protocol):
    """What a task needs of its transactional producer."""

    async def commit(self, transaction: Transaction) -> int | None:
        """Write everything in one transaction; the changelog offset behind its rows, None without rows."""

    async def stop(self) -> None: ...
