"""A cluster in memory: logs with transactions, producers that can be fenced, a group's offsets.

What of Kafka the protocol relies on, and no more: a transaction's records take their offsets at once and are seen when
it commits; markers take offsets, too; readers stop at the first record of an open transaction; starting a producer
aborts what its predecessor left open and shuts that one out for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from usage_log import Rec


class Fenced(Exception):
    """Somebody else has taken the transactional id over."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost."""


@dataclass(eq=False, slots=True)
class Txn:
    """A transaction of the producer that has this epoch on this partition."""

    partition: int
    epoch: int
    state: str = "open"  # committed, aborted
    logs: dict[int, Log] = field(default_factory=dict)  # those it wrote to
    offset: int | None = None  # of the source


class Entry(NamedTuple):
    """A record in a log; the end of a transaction is a marker."""

    txn: Txn
    key: bytes | None
    value: bytes | None
    marker: bool = False


class Log:
    """One partition of a topic that is written in transactions."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, txn: Txn, key: bytes | None, value: bytes | None) -> int:
        """Returns the record's offset."""
        txn.logs[id(self)] = self
        self.entries.append(Entry(txn, key, value))
        return len(self.entries) - 1

    def stable_end(self) -> int:
        """The first offset that readers of committed records do not reach."""
        return next((at for at, entry in enumerate(self.entries) if entry.txn.state == "open"), len(self.entries))

    def committed(self, start: int = 0) -> Iterator[tuple[int, Entry]]:
        """Offset and record, for readers of committed records."""
        for at in range(start, self.stable_end()):
            entry = self.entries[at]
            if entry.txn.state == "committed" and not entry.marker:
                yield at, entry


class Kafka:
    """The cluster. `fencing=False` breaks it on purpose: producers of one partition do not know of each other."""

    def __init__(self, partitions: int, fencing: bool = True) -> None:
        self.usage: list[list[Rec]] = [[] for _ in range(partitions)]
        self.changelogs = [Log() for _ in range(partitions)]
        self.outputs = {"billing_events": Log(), "dead_letter": Log()}
        self.offsets: dict[int, int] = {}
        self._epochs = [0] * partitions
        self._open: list[Txn] = []
        self._fencing = fencing

    def start_producer(self, partition: int) -> int:
        """Returns the epoch that now alone may write."""
        self._epochs[partition] += 1
        if self._fencing:
            for txn in [txn for txn in self._open if txn.partition == partition]:
                self._end(txn, "aborted")
        return self._epochs[partition]

    def begin(self, partition: int, epoch: int) -> Txn:
        txn = Txn(partition, epoch)
        self._check(txn)
        self._open.append(txn)
        return txn

    def send(self, txn: Txn, log: Log, key: bytes | None, value: bytes | None) -> int:
        """Returns the record's offset."""
        self._check(txn)
        return log.append(txn, key, value)

    def commit(self, txn: Txn) -> None:
        self._check(txn)
        if txn.offset is not None:
            self.offsets[txn.partition] = txn.offset
        self._end(txn, "committed")

    def time_out(self, partition: int, epoch: int) -> None:
        """Abort what a dead producer left open, as the coordinator does after a while."""
        for txn in [txn for txn in self._open if (txn.partition, txn.epoch) == (partition, epoch)]:
            self._end(txn, "aborted")

    def _end(self, txn: Txn, state: str) -> None:
        self._open.remove(txn)
        txn.state = state
        for log in txn.logs.values():
            log.entries.append(Entry(txn, None, None, marker=True))

    def _check(self, txn: Txn) -> None:
        if self._fencing and txn.epoch != self._epochs[txn.partition]:
            raise Fenced
