"""What the independent check found, as numbers, examples and tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.verify.hours import HourSums

EXAMPLES = 20  # enough to see the pattern, few enough to read
PLACES_MAX = 100_000  # findings of one kind whose places are remembered; with more, none is doubted


class Example(NamedTuple):
    """One finding: where (coordinates or bucket), and what is the matter, in one sentence."""

    where: str
    what: str


@dataclass
class Findings:
    """One kind of fault: how many, the first examples, and how many at each place."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    whole: bool = True  # whether `places` has all of them

    def add(self, where: str, what: str, count: int = 1) -> None:
        self.count += count
        if where in self.places or len(self.places) < PLACES_MAX:
            self.places[where] += count
        else:
            self.whole = False
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(where, what))

    def keep(self, before: Findings) -> None:
        """Drop what an earlier reading did not find at the same place. Nothing is dropped when there are too many."""
        if self.whole and before.whole:
            self.places = Counter({where: count for where, count in self.places.items() if where in before.places})
            self.count = self.places.total()
            self.examples = [example for example in self.examples if example.where in self.places]


@dataclass
class Report:
    """The check's result. Money by currency: `used` is `billed` + `waiting` if all is well and the logs are whole."""

    events_read: int = 0
    unread: int = 0  # of these, behind what the group had committed when the check began
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    bills: int = 0
    revisions: int = 0
    other_events: int = 0  # on billing_events, of types this check does not judge
    letters: int = 0  # about the usage topic
    redriven: int = 0  # of the letters, those whose record was sent again
    buckets: int = 0
    buckets_waiting: int = 0
    events_waiting: int = 0  # counted, and not yet due on a bill
    out_of_reach: int = 0  # bills and letters whose usage has left the log
    used: dict[str, Decimal] = field(default_factory=dict)
    billed: dict[str, Decimal] = field(default_factory=dict)
    waiting: dict[str, Decimal] = field(default_factory=dict)
    hours: dict[int, HourSums] = field(default_factory=dict)  # start (ms) → what is due, what is billed
    lost: Findings = field(default_factory=Findings)
    doubled: Findings = field(default_factory=Findings)
    wrong: Findings = field(default_factory=Findings)

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing doubled, nothing wrong."""
        return not (self.lost.count or self.doubled.count or self.wrong.count)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; money as decimal strings."""
        return {
            "ok": self.ok,
            "events": self.accepted,
            **{name: getattr(self, name) for name, _ in COUNTS},
            **{name: found.count for name, found in self.faults()},
            "still_open": self.buckets_waiting,
            "rejected": dict(sorted(self.rejected.items())),
            **{name: {key: f"{value:.12f}" for key, value in sorted(money.items())} for name, money in self.money()},
            "examples": {name: [example._asdict() for example in found.examples] for name, found in self.faults()},
        }

    def money(self) -> tuple[tuple[str, dict[str, Decimal]], ...]:
        """The sums of both sides."""
        return ("used", self.used), ("billed", self.billed), ("waiting", self.waiting)

    def faults(self) -> tuple[tuple[str, Findings], ...]:
        """The three kinds of fault."""
        return ("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong)


COUNTS: tuple[tuple[str, str], ...] = (
    ("events_read", "usage records read"),
    ("unread", "… of them not yet reached by the workers"),
    ("accepted", "events accepted"),
    ("duplicates", "repeated events ignored"),
    ("letters", "dead letters about usage"),
    ("redriven", "letters whose record was sent again"),
    ("buckets", "buckets (org, team, currency, hour)"),
    ("bills", "statements"),
    ("revisions", "… of them revisions"),
    ("other_events", "other events on billing_events"),
    ("buckets_waiting", "still open: buckets that wait for their end or for late events"),
    ("events_waiting", "events not yet due on a bill"),
    ("out_of_reach", "statements and letters older than the usage log"),
)
"""The plain numbers of a report, and what they are called in print."""
