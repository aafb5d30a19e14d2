"""Who reads what in `streamapp run`, how far everybody is, and when everything has been read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from streamapp.clock import monotonic_s
from streamapp.errors import Unavailable
from streamapp.kafka.groups import Seen, look
from streamapp.local.jobs import stage_of
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import group
from streamapp.watch.lag import Watched, unread, watched

SETTLED_S = 1.5  # for the few records that may hide among the markers
NAMED_MAX = 3  # groups that are behind are named in the progress line, the farthest first
ANSWER_S = 15.0
PAUSE_S = 0.2


class Standing(NamedTuple):
    """Where a group is in a topic: how far behind, and the sums of its committed offsets and of the topic's ends.

    Offsets that may all be markers of transactions are not behind: a run ends when nothing moves any more.
    """

    group: str
    topic: str
    lag: int
    committed: int
    end: int


def readings(groups: Sequence[str]) -> tuple[Watched, ...]:
    """What these groups read; whoever reads what another one writes comes after it."""
    return watched([group(name) for name in sorted(groups, key=stage_of)])


def standings(kafka: KafkaSettings, readings: Sequence[Watched], timeout_s: float = ANSWER_S) -> tuple[Standing, ...]:
    """Where every group is, asked of the cluster over one connection. Not for a thread that runs an event loop.

    Raises `Unavailable` when Kafka has not told all of it in `timeout_s`: a partition may be without a leader for a
    moment. Raises `Misconfigured` as `look` does.
    """
    groups, topics = {reading.group for reading in readings}, {reading.topic for reading in readings}
    end_s = monotonic_s() + timeout_s
    while True:
        try:
            return judged(look(kafka, groups, topics, max(PAUSE_S, end_s - monotonic_s())), readings)
        except Unavailable:
            if monotonic_s() + PAUSE_S > end_s:
                raise
        threading.Event().wait(PAUSE_S)


def judged(seen: Seen, readings: Sequence[Watched]) -> tuple[Standing, ...]:
    """The same of what was seen. Raises `Unavailable` where something is missing: a partition whose end is not known
    looks as if everybody had read it. Pure."""
    for reading in readings:
        told = sum(partition[0] == reading.topic for partition in seen.starts.keys() & seen.ends.keys())
        if told < reading.partitions:
            raise Unavailable(
                f"Kafka tells the offsets of {told} of {reading.partitions} partitions of {reading.topic}"
            )
    return tuple(_standing(reading, seen) for reading in readings)


def _standing(reading: Watched, seen: Seen) -> Standing:
    found = seen.groups[reading.group]
    if found.committed is None:
        raise Unavailable(f"Kafka does not tell what group {reading.group} has committed: {found.problem}")
    mine = {partition: end for partition, end in seen.ends.items() if partition[0] == reading.topic}
    done = sum(offset for partition, offset in found.committed.items() if partition in mine)
    lag = sum(
        unread(seen.starts.get(partition, 0), end - reading.markers, found.committed.get(partition))
        for partition, end in mine.items()
    )
    return Standing(reading.group, reading.topic, lag, done, sum(mine.values()))


class Drained:
    """Tells when everything has been read: nobody is behind, and for a while nothing has moved."""

    def __init__(self) -> None:
        self._last: Sequence[Standing] = ()
        self._since_s = 0.0

    def done(self, standings: Sequence[Standing], now_s: float) -> bool:
        """`now_s` is a monotonic clock's."""
        if standings != self._last:
            self._last, self._since_s = standings, now_s
        return not any(each.lag for each in standings) and now_s - self._since_s >= SETTLED_S

    def still_s(self, now_s: float) -> float:
        """For how long nothing has moved."""
        return now_s - self._since_s


def behind_text(standings: Sequence[Standing]) -> str:
    """Who is behind, and how far; short, however many groups there are."""
    lags: Counter[str] = Counter()
    for each in standings:
        lags[each.group] += each.lag
    late = [(name, lag) for name, lag in lags.most_common() if lag]
    if not late:
        return f"all {len(lags)} groups have read everything" if len(lags) > 1 else "everything is read"
    named = [f"{name} {lag:,}" for name, lag in late[:NAMED_MAX]]
    more = [f"{len(late) - NAMED_MAX} more"] if len(late) > NAMED_MAX else []
    return f"behind: {' · '.join(named + more)}"


def progress_text(standings: Sequence[Standing], fed: Collection[str]) -> str:
    """One line: what was sent to the topics that others write, and who is behind."""
    ends = {each.topic: each.end for each in standings if each.topic in fed}
    return f"{sum(ends.values()):,} records on {len(ends)} topics · {behind_text(standings)}"
