"""How far consumer groups are behind the end of their topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamapp.kafka.admin import Admin
from streamapp.kafka.partitions import Partition


class Reading(NamedTuple):
    """A group reads a topic. `markers`: see `behind`."""

    group: str
    topic: str
    markers: int = 0


class Standing(NamedTuple):
    """Where a group is in a topic: how far behind, and the sums of its committed offsets and of the topic's ends."""

    group: str
    topic: str
    lag: int
    committed: int
    end: int


def behind(
    starts: Mapping[Partition, int],
    ends: Mapping[Partition, int],
    committed: Mapping[Partition, int],
    markers: int = 0,
) -> int:
    """Offsets between what a group has committed and the ends. Pure.

    `markers`: so many offsets at the very end of a partition hold the marker of a transaction and no record; a topic
    that is written in transactions has one.
    """
    lag = 0
    for partition, end in ends.items():
        start = starts.get(partition, 0)
        if end > start:
            lag += max(0, end - markers - max(start, committed.get(partition, start)))
    return lag


def standings(admin: Admin, readings: Sequence[Reading]) -> tuple[Standing, ...]:
    """Where every group is, asked of the cluster. Raises what `Admin` raises."""
    states = admin.describe(dict.fromkeys(reading.topic for reading in readings))
    partitions = [(state.name, number) for state in states.values() for number in range(state.partitions)]
    starts, ends = admin.start_offsets(partitions), admin.end_offsets(partitions)
    committed = {group: admin.committed(group) for group in dict.fromkeys(reading.group for reading in readings)}
    return tuple(_standing(reading, starts, ends, committed[reading.group]) for reading in readings)


def _standing(
    reading: Reading,
    starts: Mapping[Partition, int],
    ends: Mapping[Partition, int],
    committed: Mapping[Partition, int],
) -> Standing:
    mine = {partition: end for partition, end in ends.items() if partition[0] == reading.topic}
    done = sum(offset for partition, offset in committed.items() if partition in mine)
    lag = behind(starts, mine, committed, reading.markers)
    return Standing(reading.group, reading.topic, lag, done, sum(mine.values()))
