"""The unit of work, and what it asks of Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from streamapp.store.rows import Writes

if TYPE_CHECKING:
    from streamapp.exact.partition.owned import Partition


class Chunk(NamedTuple):
    """Consecutive records of one partition, in the hands of the owner they were fetched for.

    A chunk without records is a tick: the partition is fully read and silent, and time may close something.
    """

    partition: Partition
    number: int  # counts the partition's chunks: one that goes missing on its way is noticed
    records: Sequence[Any]
    high_water: int


class Send(NamedTuple):
    """A record to write. `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class Transaction(NamedTuple):
    """Everything a chunk does to the world, done together or not at all."""

    writes: Writes  # rows, for the changelog and then the store
    sends: Sequence[Send]  # statements and dead letters
    next_offset: int | None  # of the source; None leaves the group's offset where it is
