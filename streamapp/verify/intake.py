"""What a check takes in: which records of a topic count, by when a statement must have an event, and which statements
are new.

Records count that can be read and whose org is known, each id once, unless they are refused.

An event id counts once in a partition's whole log here. The workers need not remember an id longer than 24 hours after
its hour closed (decision 13): a repeat that comes later and is counted again shows as doubled, because it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.engine import Sides
from streamapp.verify.read import letters
from streamapp.verify.read.event import BY_ITSELF, HOUR_MS, E, Poison, at, parse
from streamapp.verify.read.homes import Homes
from streamapp.verify.read.letters import Letters
from streamapp.verify.report import PairReport

MARK_MS = 300_000  # late events are stated at multiples of this


class Taken(NamedTuple, Generic[E]):
    """An event that counts, or that would if its id were new."""

    event: E
    org: str
    home: int  # the partition whose memory of ids it meets
    is_new: bool


class Intake(Generic[E]):
    """The records of a pair's source, in offset order within a partition. `reading`: what a record says. `letters`:
    about the topic; those of the pair's group take records out. `homes`: None where the topic's keys are not teams: an
    id may be known on another partition. `report` takes what is wrong with records and dead letters, by default the
    one of `sides`. `plausible`: whether a record can have been refused for a reason; by default one that can be read
    cannot for those of `BY_ITSELF`."""

    def __init__(
        self,
        sides: Sides,
        reading: Callable[[Record], E | Poison],
        letters: Letters,
        homes: Homes | None = None,
        report: PairReport | None = None,
        plausible: Callable[[str, Record], bool] | None = None,
    ) -> None:
        self._sides, self._reading, self.letters = sides, reading, letters
        self._plausible = plausible or self._by_reading
        self._homes, self._report = homes, report or sides.report
        self._group, self._org_of = sides.pair.refuses or sides.pair.group, sides.directory()
        self._seen: dict[tuple[int, str], bytes] = {}  # (home, event id) → digest of its bytes
        self.read = 0
        self.unread = 0  # of these, behind what the group has committed
        self.unlettered = 0  # of these, waiting for a dead letter
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()  # by reason

    def has_read(self, record: Record) -> bool:
        """Whether the group has surely read the record."""
        committed = self._sides.committed
        return committed is None or record.offset < committed.get(record.partition, 0)

    def take(self, record: Record) -> Taken[E] | None:
        """The event; None for a record that does not count."""
        self.read += 1
        self.unread += not self.has_read(record)
        if self._is_refused(record):
            return None
        event = self._reading(record)
        if isinstance(event, Poison):
            self._missing(record, f"cannot be counted and has no dead letter: {event.error}")
            return None
        org = event.org or self._org_of(event.team or "")
        if org is None:
            self._missing(record, f"no org is known for team {event.team}, and it has no dead letter")
            return None
        digest = _digest(record)
        home = self._home(event.team or "", record)
        before = self._seen.setdefault((home, event.id), digest)
        if before is digest:
            return Taken(event, org, home, is_new=True)
        if before != digest:
            self._missing(record, f"has the id {event.id} of an earlier event, other bytes and no dead letter")
        else:
            self.duplicates += 1
        return Taken(event, org, home, is_new=False)

    def unmatched(self) -> None:
        """Dead letters about records that were not read. Called at the end."""
        topic = self._sides.pair.source
        for (partition, offset), about in self.letters.items():
            if offset < self._sides.start(topic, partition):
                self._report.out_of_reach += len(about)
            else:
                self._report.wrong.add(about[0].where, f"there is no record {topic}[{partition}]@{offset}")

    def _is_refused(self, record: Record) -> bool:
        """Whether the group has refused the record. Its dead letters are used up."""
        about = self.letters.pop((record.partition, record.offset), ())
        conflicting = self._conflicting(record) if about else None
        for letter in about:
            problem = letters.problem(letter, record, conflicting, self._plausible)
            if problem:
                self._report.wrong.add(letter.where, problem)
        ours = [letter.reason for letter in about if letter.group == self._group]
        self.rejected.update(ours[:1])
        return bool(ours)

    def _conflicting(self, record: Record) -> bool | None:
        """Whether the record has the id of an event accepted before, and other bytes. None: cannot be known."""
        if self._homes is None:
            return None
        event = parse(record.value)
        event_id = None if isinstance(event, Poison) else event.get("id")
        home = self._home((record.key or b"").decode(errors="replace"), record)
        before = self._seen.get((home, event_id)) if isinstance(event_id, str) else None
        if before is None:
            return None if self._sides.start(record.topic, record.partition) > 0 else False
        return before != _digest(record)

    def _by_reading(self, reason: str, record: Record) -> bool:
        return reason not in BY_ITSELF or isinstance(self._reading(record), Poison)

    def _home(self, team: str, record: Record) -> int:
        return record.partition if self._homes is None else self._homes.root(team, record.partition)

    def _missing(self, record: Record, what: str) -> None:
        """A record that must have a dead letter and has none: lost, unless the group may not have come to it yet."""
        if self.has_read(record):
            self._report.lost.add(at(record), what)
        else:
            self.unlettered += 1


@dataclass
class Watermarks:
    """How far the events of each partition have come, and when an event that no statement counts is lost."""

    grace_ms: int
    come: dict[int, int] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)  # by what the group has surely read
    floors: dict[int, int] = field(default_factory=dict)  # partition → watermark it may have begun with

    def note(self, partition: int, time_ms: int, is_read: bool) -> None:
        for marks in (self.come, self.reached) if is_read else (self.come,):
            marks[partition] = max(marks.get(partition, time_ms), time_ms)

    def due_ms(self, partition: int, hour_ms: int) -> int:
        """The watermark by which an event that arrives now must be on a statement, at the latest (decision 9).

        An hour that the wall clock has closed early looks like an open one here. The later of the two marks is certain.
        """
        known = [marks[partition] for marks in (self.come, self.floors) if partition in marks]
        return max([hour_ms + HOUR_MS + self.grace_ms, *(mark - mark % MARK_MS + MARK_MS for mark in known)])


@dataclass
class Once:
    """Statements that were read. The same one again is doubled; with other bytes it is wrong."""

    report: PairReport
    seen: dict[Hashable, bytes] = field(default_factory=dict)  # what names it → digest of its bytes

    def is_new(self, name: Hashable, record: Record, *what: object, otherwise: str = "is in the log twice") -> bool:
        """`what` it is called in a finding, as for `print`: only a repeat needs the sentence. `otherwise` is what is
        said of one with other bytes."""
        digest = _digest(record)
        before = self.seen.setdefault(name, digest)
        if before is digest:
            return True
        findings, said = self.report.wrong, otherwise
        if before == digest:
            findings, said = self.report.doubled, "is in the log twice"
        findings.add(at(record), " ".join(map(str, (*what, said))))
        return False


def _digest(record: Record) -> bytes:
    return hashlib.blake2b(record.value or b"", digest_size=16).digest()
