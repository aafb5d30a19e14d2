"""How far consumer groups are behind the end of their topics."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamapp.clock import monotonic_s
from streamapp.errors import Denied, Unavailable
from streamapp.kafka.groups import Seen, look
from streamapp.kafka.partitions import Partition
from streamapp.kafka.trouble import Right, lacks
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import topic

ANSWER_S = 15.0
PAUSE_S = 0.2


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


def standings(kafka: KafkaSettings, readings: Sequence[Reading], timeout_s: float = ANSWER_S) -> tuple[Standing, ...]:
    """Where every group is, asked of the cluster over one connection. Not for a thread that runs an event loop.

    Raises `Unavailable` when Kafka has not told all of it in `timeout_s`: a partition may be without a leader for a
    moment. Raises `Denied` where a right is missing, `Misconfigured` as `look` does.
    """
    groups, topics = {reading.group for reading in readings}, {reading.topic for reading in readings}
    end_s = monotonic_s() + timeout_s
    while True:
        try:
            seen = look(kafka, groups, topics, max(PAUSE_S, end_s - monotonic_s()))
            demand_rights(seen, kafka.sasl_username)
            return judged(seen, readings)
        except Unavailable:
            if monotonic_s() + PAUSE_S > end_s:
                raise
        threading.Event().wait(PAUSE_S)


def demand_rights(seen: Seen, user: str | None) -> None:
    """Raise `Denied` for the first thing that `user`, who asked, may not ask about."""
    groups = [Right("DESCRIBE", "group", name) for name, one in seen.groups.items() if one.denied]
    for right in (*groups, *(Right("DESCRIBE", "topic", name) for name in sorted(seen.denied))):
        raise Denied(lacks(user, right))


def judged(seen: Seen, readings: Sequence[Reading]) -> tuple[Standing, ...]:
    """The same of what was seen. Raises `Unavailable` where something is missing: a partition whose end is not known
    looks as if everybody had read it. Pure."""
    for name in dict.fromkeys(reading.topic for reading in readings):
        told = sum(partition[0] == name for partition in seen.starts.keys() & seen.ends.keys())
        if told < topic(name).partitions:
            raise Unavailable(f"Kafka tells the offsets of {told} of {topic(name).partitions} partitions of {name}")
    return tuple(_standing(reading, seen) for reading in readings)


def _standing(reading: Reading, seen: Seen) -> Standing:
    group = seen.groups[reading.group]
    if group.committed is None:
        raise Unavailable(f"Kafka does not tell what group {reading.group} has committed: {group.problem}")
    mine = {partition: end for partition, end in seen.ends.items() if partition[0] == reading.topic}
    done = sum(offset for partition, offset in group.committed.items() if partition in mine)
    lag = behind(seen.starts, mine, group.committed, reading.markers)
    return Standing(reading.group, reading.topic, lag, done, sum(mine.values()))
