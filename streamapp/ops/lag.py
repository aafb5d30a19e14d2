"""How far consumer groups are behind the end of their topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamapp.kafka.admin import Admin, Partition


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


def group_lag(admin: Admin, group: str, topics: Iterable[str], markers: int = 0) -> int:
    """The same, asked of the cluster. Raises what `Admin` raises."""
    states = admin.describe(topics)
    partitions = [(state.name, number) for state in states.values() for number in range(state.partitions)]
    return behind(admin.start_offsets(partitions), admin.end_offsets(partitions), admin.committed(group), markers)
