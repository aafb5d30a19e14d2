"""Random lives of consumer groups: what really happens to them and their records, and what Kafka says when it is asked.

Nothing here knows of lag, rules or the watch. Kafka's answers are those of a broker: `said`, `first_at`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from streamapp.kafka.groups import GroupSeen, Member

MINUTE_MS = 60_000
MARKERS = 2  # writers of a topic with transactions
READS = ("well", "slow", "stuck", "rebalancing")  # has workers
AWAY = ("killed", "deleted", "never")
FEEDS = ("idle", "trickle", "trickle", "flood", "burst")
TROUBLES = ("coordinator", "leader", "denied")
MEMBER = Member("client", "host", b"", ())


class Run(NamedTuple):
    """Offsets next to each other, written at one time."""

    first: int
    length: int
    at_ms: int
    what: str  # record; marker: the end of a transaction, which no reader is given; gone: compacted

    @property
    def end(self) -> int:
        return self.first + self.length


class Loss(NamedTuple):
    """Offsets that went before the group had read them."""

    upto: int
    committed: int | None
    offsets: int
    records: int


@dataclass
class Log:
    """One partition, and what its group has committed of it."""

    runs: list[Run] = field(default_factory=list)
    start: int = 0
    end: int = 0
    committed: int | None = None
    was_read: int = 0  # the highest that was ever committed
    left: int = 0  # where the log ended at the last commit
    losses: list[Loss] = field(default_factory=list)

    def append(self, count: int, at_ms: int, markers: int) -> None:
        at_ms = max(at_ms, self.runs[-1].at_ms if self.runs else 0)
        self._put(count, at_ms, "record")
        if markers:
            self._put(markers, at_ms, "marker")

    def _put(self, count: int, at_ms: int, what: str) -> None:
        self.runs.append(Run(self.end, count, at_ms, what))
        self.end += count

    def commit(self, upto: int) -> None:
        self.committed, self.left = upto, self.end
        self.was_read = max(self.was_read, upto)

    def expire(self, upto: int) -> None:
        first = max(self.start, self.was_read)
        if upto > first:
            self.losses.append(Loss(upto, self.committed, upto - first, self.records(first, upto)))
        self.start = max(self.start, upto)
        self.runs = [run for run in self.runs if run.end > self.start]

    def compact(self, random_: random.Random) -> None:
        """A run is gone, never the last one."""
        if len(self.runs) > 2:
            number = random_.randrange(len(self.runs) - 2)
            self.runs[number] = self.runs[number]._replace(what="gone")

    @property
    def position(self) -> int:
        """From where a reader goes on."""
        return max(self.start, self.committed or 0)

    def read_end(self) -> int:
        """Behind the last record: what a reader that has read everything commits."""
        return max((run.end for run in self.runs if run.what == "record"), default=self.position)

    def records(self, first: int, end: int) -> int:
        parts = (min(run.end, end) - max(run.first, first) for run in self.runs if run.what == "record")
        return sum(part for part in parts if part > 0)

    def written_ms(self, offset: int) -> int | None:
        """When the record at an offset, or the first one behind it, was written. None: there is none."""
        return next((run.at_ms for run in self.runs if run.what == "record" and run.end > offset), None)

    def first_ms(self, offset: int) -> int:
        """When what is at an offset, or the first behind it, was written."""
        return next(run.at_ms for run in self.runs if run.end > offset)

    def first_at(self, at_ms: int) -> tuple[int, int]:
        """Kafka's answer: the first offset that was written at that time or later, and when. Ends of transactions
        have times, too."""
        for run in self.runs:
            if run.at_ms >= at_ms and run.what != "gone":
                return max(run.first, self.start), run.at_ms
        return -1, -1


class Life:
    """A group and its topic."""

    def __init__(self, name: str, topic: str, random_: random.Random, now_ms: int) -> None:
        self.name, self.topic, self.random = name, topic, random_
        self.compacted = random_.random() < 0.15
        self.markers = random_.choice((0, 0, 1, MARKERS))
        self.retention_ms = None if self.compacted else random_.choice((26, 30, 168)) * 60 * MINUTE_MS
        self.mode = random_.choice((*READS, "well", "well", "killed", "never"))
        self.feed = random_.choice(FEEDS)
        self.members = random_.randint(1, 3) if self.mode in READS else 0
        self.trouble = ""
        self.remade = False
        self.logs = [self._begun(now_ms) for _ in range(random_.choice((1, 1, 2)))]

    def _begun(self, now_ms: int) -> Log:
        """Some records of before, most of them read, some expired."""
        log, hours = Log(), self.random.choice((0, 1, 23, 28, 120)) if self.retention_ms else 400
        for _ in range(self.random.randrange(4)):
            log.append(self.random.randint(1, 5), now_ms - hours * 60 * MINUTE_MS, self.markers)
            hours = hours // 2
        if self.mode != "never":
            log.commit(log.read_end() if self.random.random() < 0.7 else self.random.randint(0, log.end))
        if self.random.random() < 0.1 and not self.compacted:
            log.expire(self.random.randint(0, log.end))
            log.losses.clear()
        return log

    def minute(self, now_ms: int, kafka_runs: bool) -> None:
        """What happens in the minute before."""
        if self.random.random() < 0.08:
            self._turn(kafka_runs)
        if not kafka_runs:
            return
        if self.random.random() < 0.06:
            self.feed = self.random.choice(FEEDS)
        self._write(now_ms - self.random.randrange(MINUTE_MS))
        self._read()
        self._lose()
        if self.trouble:
            self.trouble = self.trouble if self.random.random() < 0.95 else ""
        elif self.random.random() < 0.0005:
            self.trouble = self.random.choice(TROUBLES)

    def _turn(self, kafka_runs: bool) -> None:
        """Another mode. Only a group without members can be deleted, and only by a Kafka that runs."""
        to = [*READS, "well", "killed"] if self.mode in READS or kafka_runs else [self.mode]
        if self.members == 0 and kafka_runs and self.mode != "never":
            to.append("deleted")
        if not kafka_runs:
            to = ["killed"] if self.mode in READS else [self.mode]
        self.mode = self.random.choice(to)
        self.members = self.random.randint(1, 3) if self.mode in READS else 0
        if self.mode == "deleted":
            for log in self.logs:
                log.committed = None

    def _write(self, at_ms: int) -> None:
        counts = {"idle": 0, "trickle": self.random.randrange(4), "flood": 9_000, "burst": 0}
        count = counts[self.feed]
        if self.feed == "burst" and self.random.random() < 0.1:
            count = self.random.choice((60_000, 300_000, 1_200_000))
        if count:
            log = self.random.choice(self.logs)
            log.append(count, at_ms, self.markers)

    def _read(self) -> None:
        for log in self.logs:
            if self.mode == "well":
                self._commit(log, log.read_end())
            elif self.mode == "slow":
                self._commit(log, (log.position + log.read_end()) // 2)

    def _commit(self, log: Log, upto: int) -> None:
        if upto > (log.committed or 0) and upto > log.start:
            log.commit(upto)

    def _lose(self) -> None:
        log = self.random.choice(self.logs)
        if self.random.random() < 0.02 and not self.compacted and log.runs:
            log.expire(self.random.choice([run.end for run in log.runs] + [log.end]))
        if self.compacted and self.random.random() < 0.2:
            log.compact(self.random)
        if self.random.random() < 0.0005:  # the topic is deleted and made anew
            number = self.logs.index(log)
            self.logs[number], self.remade = Log(committed=log.committed), True

    def between(self, now_ms: int) -> None:
        """What happens between two questions of a look."""
        what, log = self.random.randrange(24), self.random.choice(self.logs)
        if what == 0:
            log.append(self.random.randint(1, 5), now_ms, self.markers)
        elif what == 1 and self.mode in ("well", "slow"):
            self._commit(log, log.read_end())
        elif what == 2 and self.mode in READS:
            self.mode, self.members = "killed", 0
        elif what == 3 and not self.compacted and self.random.random() < 0.2:
            log.expire(self.random.randint(log.start, log.end))

    def said(self) -> GroupSeen:
        """Kafka's answer about the group."""
        if self.trouble in ("coordinator", "denied"):
            return GroupSeen("", problem="away", denied=self.trouble == "denied")
        committed = {(self.topic, n): log.committed for n, log in enumerate(self.logs)}
        known = {partition: offset for partition, offset in committed.items() if offset is not None}
        states = {"rebalancing": "PreparingRebalance", "deleted": "Dead", "never": "Dead", "killed": "Empty"}
        return GroupSeen(states.get(self.mode, "Stable"), (MEMBER,) * self.members, known)
