"""Where the records of a team are, for a check: on one partition each, unless the topic has got more partitions.

After a repartition a team's events are on two partitions: where the former number of partitions puts its key, and
where the present one does. The former number is whatever single number explains every bill that covers another
partition than the present one; if none does, a team on two partitions is a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import gcd

from streamapp.kafka.log.reader import Record
from streamapp.topics.partitioner import partition_for


class Homes:
    """Teams and partitions. `now` is the topic's number of partitions, `stated` are the (team, partition) of bills."""

    def __init__(self, now: int, stated: Iterable[tuple[str, int]]) -> None:
        self._home = lru_cache(maxsize=100_000)(_home)
        self.now = now
        strays = {(team, partition) for team, partition in stated if now and self._home(team, now) != partition}
        fit = [
            count for count in range(1, now) if all(self._home(team, count) == partition for team, partition in strays)
        ]
        self.before = max(fit, default=0) if strays else 0  # 0: there was no repartition
        self._only: dict[str, int] = {}

    def moved(self, team: str) -> bool:
        """Whether the team has lived on another partition before."""
        return self.before > 0 and self._home(team, self.now) != self._home(team, self.before)

    def split(self, records: Iterable[Record]) -> tuple[Iterator[Record], list[Record]]:
        """Two parts, to be read one after the other: the second one, of teams that have moved, from their present
        homes, comes after their former homes. It is filled while the first one is read."""
        late: list[Record] = []
        return (record for record in records if not self._waits(record, late)), late

    def _waits(self, record: Record, late: list[Record]) -> bool:
        if not self.before or record.key is None:
            return False
        team = record.key.decode(errors="replace")
        waits = self.moved(team) and self._home(team, self.now) == record.partition
        if waits:
            late.append(record)
        return waits

    def root(self, team: str, partition: int) -> int:
        """The partition whose memory of ids a record meets: ids of the former home are known at the present one."""
        return self._home(team, self.before) if self.moved(team) else partition

    def is_former(self, team: str, partition: int) -> bool:
        """Whether the team has moved away from this partition."""
        return self.moved(team) and self._home(team, self.before) == partition

    def present(self, team: str, partition: int) -> int:
        """Where the team lives now that was met on this partition."""
        return self._home(team, self.now) if self.moved(team) else partition

    def problem(self, team: str, partition: int) -> str | None:
        """What is wrong with an event of the team on this partition, or None."""
        if self.before:
            homes = {self._home(team, self.now), self._home(team, self.before)}
            return None if partition in homes else f"team {team} lives on partitions {sorted(homes)}"
        only = self._only.setdefault(team, partition)
        return None if only == partition else f"team {team} lives on partition {only}, too"

    def floors(self, watermarks: Mapping[int, int]) -> dict[int, int]:
        """The highest watermark with which each new partition may have begun, by those of the former homes."""
        step = gcd(self.before, self.now)
        floors: dict[int, int] = {}
        for partition in range(self.before, self.now if self.before else 0):
            known = [watermarks[p] for p in range(partition % step, self.before, step) if p in watermarks]
            if known:
                floors[partition] = max(known)
        return floors


def _home(team: str, partitions: int) -> int:
    return partition_for(team.encode("utf-8", "surrogatepass"), partitions)
