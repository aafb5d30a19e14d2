"""Which records of a topic count: those that can be read and whose org is known, each id once, unless they are refused.

An event id counts once in a partition's whole log here. The workers need not remember an id longer than 24 hours after
its hour closed (decision 13): a repeat that comes later and is counted again shows as doubled, because it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.engine import Offsets
from streamapp.verify.read import letters
from streamapp.verify.read.event import E, Poison, at, parse
from streamapp.verify.read.homes import Homes
from streamapp.verify.read.letters import Letters
from streamapp.verify.reading import OrgOf
from streamapp.verify.report import PairReport


class Taken(NamedTuple, Generic[E]):
    """An event that counts, or that would if its id were new."""

    event: E
    org: str
    home: int  # the partition whose memory of ids it meets
    is_new: bool


@dataclass
class Intake(Generic[E]):
    """The records of one topic, in offset order within a partition. `reading`: what a record says. `letters`: about the
    topic; those of `group` take records out. `committed`: what the group has surely read, None for everything. `report`
    takes what is wrong with records and letters."""

    reading: Callable[[Record], E | Poison]
    plausible: Callable[[str, Record], bool]
    letters: Letters
    group: str
    org_of: OrgOf
    homes: Homes
    report: PairReport
    committed: Offsets | None = None
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)
    read: int = 0
    unread: int = 0  # of these, behind what the group has committed
    unlettered: int = 0  # of these, waiting for a dead letter
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    _seen: dict[tuple[int, str], bytes] = field(default_factory=dict)  # (home, event id) → digest of its bytes

    def has_read(self, record: Record) -> bool:
        """Whether the group has surely read the record."""
        return self.committed is None or record.offset < self.committed.get(record.partition, 0)

    def take(self, record: Record) -> Taken[E] | None:
        """The event; None for a record that does not count."""
        self.read += 1
        self.unread += not self.has_read(record)
        if self._is_refused(record):
            return None
        event = self.reading(record)
        if isinstance(event, Poison):
            return self._missing(record, f"cannot be counted and has no dead letter: {event.error}")
        org = event.org or self.org_of(event.team or "")
        if org is None:
            return self._missing(record, f"no org is known for team {event.team}, and it has no dead letter")
        digest = _digest(record)
        home = self.homes.root(event.team or "", record.partition)
        before = self._seen.setdefault((home, event.id), digest)
        if before is digest:
            return Taken(event, org, home, is_new=True)
        if before != digest:
            self._missing(record, f"has the id {event.id} of an earlier event, other bytes and no dead letter")
        else:
            self.duplicates += 1
        return Taken(event, org, home, is_new=False)

    def _is_refused(self, record: Record) -> bool:
        """Whether the group has refused the record. Its letters are used up."""
        about = self.letters.pop((record.partition, record.offset), ())
        conflicting = self._conflicting(record) if about else None
        for letter in about:
            problem = letters.problem(letter, record, conflicting, self.plausible)
            if problem:
                self.report.wrong.add(letter.where, problem)
        ours = [letter.reason for letter in about if letter.group == self.group]
        self.rejected.update(ours[:1])
        return bool(ours)

    def _conflicting(self, record: Record) -> bool | None:
        """Whether the record has the id of an event accepted before, and other bytes. None: cannot be known."""
        event = parse(record.value)
        event_id = None if isinstance(event, Poison) else event.get("id")
        home = self.homes.root((record.key or b"").decode(errors="replace"), record.partition)
        before = self._seen.get((home, event_id)) if isinstance(event_id, str) else None
        if before is None:
            return None if self.starts.get((record.topic, record.partition), 0) > 0 else False
        return before != _digest(record)

    def _missing(self, record: Record, what: str) -> None:
        """A record that must have a letter and has none: lost, unless the group may not have come to it yet."""
        if self.has_read(record):
            self.report.lost.add(at(record), what)
        else:
            self.unlettered += 1


def _digest(record: Record) -> bytes:
    return hashlib.blake2b(record.value or b"", digest_size=16).digest()
