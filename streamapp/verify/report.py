"""What a check found: three kinds of findings, the sums of both sides by hour, and one report of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from streamapp.verify.read.event import EXACT, ZERO, hour_of, time_text

EXAMPLES = 20  # enough to see the pattern, few enough to read
PLACES_MAX = 100_000  # findings of one kind whose places are remembered; with more, none is doubted

Side = Literal[0, 1]
LEFT: Side = 0
RIGHT: Side = 1


class Example(NamedTuple):
    """One finding: where (coordinates, an account, an hour), and what is wrong, in one sentence."""

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
class Sums:
    """What one side has of one hour. `amounts` by name and unit: "cost USD", "total_tokens"."""

    events: int = 0
    amounts: dict[str, Decimal | int] = field(default_factory=dict)

    def add(self, events: int, amounts: Mapping[str, Decimal | int]) -> None:
        self.events += events
        for name, amount in amounts.items():
            before = self.amounts.get(name, 0)
            both = isinstance(before, int) and isinstance(amount, int)
            self.amounts[name] = before + amount if both else EXACT.add(before, amount)

    def texts(self) -> dict[str, str]:
        return {name: f"{Decimal(amount):f}" for name, amount in self.amounts.items()}

    def __str__(self) -> str:
        return ", ".join((f"{self.events} events", *(f"{name} {amount}" for name, amount in self.texts().items())))


@dataclass
class PairReport:
    """What the comparison of a pair found. `name` is the gauge's label: left=right."""

    name: str
    left: str  # the source of truth, in words: "llm_usage"
    right: str  # what must agree with it: "the archive"
    events: int = 0  # on the left side, each id once
    waiting: int = 0  # of these, not yet due on the right side
    out_of_reach: int = 0  # on the right side, older than the left side's log
    hours: dict[int, tuple[Sums, Sums]] = field(default_factory=dict)  # start (ms) → what is due: left, right
    lost: Findings = field(default_factory=Findings)
    doubled: Findings = field(default_factory=Findings)
    wrong: Findings = field(default_factory=Findings)

    @property
    def difference(self) -> int:
        """How many events or records the two sides disagree about; 0 when they agree."""
        return self.lost.count + self.doubled.count + self.wrong.count

    @property
    def ok(self) -> bool:
        return not self.difference

    def sums(self, at_ms: int, side: Side) -> Sums:
        return self.hours.setdefault(hour_of(at_ms), (Sums(), Sums()))[side]

    def counts_agree(self, where: str, what: str, has: int, must: int) -> bool:
        """Whether the right side counts as many as the left one has. If not: fewer are lost, more are doubled."""
        if has < must:
            self.lost.add(where, f"{what} {has} of {must}", must - has)
        elif has > must:
            self.doubled.add(where, f"{what} {has}, there are {must}", has - must)
        return has == must

    def confirm(self, before: PairReport) -> None:
        """Keep the differences that `before`, an earlier reading of both sides, found at the same places."""
        for (_, found), (_, earlier) in zip(self.faults(), before.faults(), strict=True):
            found.keep(earlier)

    def compare_hours(self) -> None:
        """Sums that differ although nothing else was found are wrong, one finding for each hour."""
        if self.ok:
            for start_ms, (left, right) in self.differing_hours():
                self.wrong.add(time_text(start_ms), f"{self.left} sums to {left}, {self.right} to {right}")

    def differing_hours(self) -> list[tuple[int, tuple[Sums, Sums]]]:
        """The hours whose two sides are not the same, in order."""
        return sorted((start_ms, sides) for start_ms, sides in self.hours.items() if sides[0] != sides[1])

    def faults(self) -> tuple[tuple[str, Findings], ...]:
        return ("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; amounts as decimal strings."""
        facts = ("name", "left", "right", "difference", "events", "waiting", "out_of_reach")
        return {
            **{name: getattr(self, name) for name in facts},
            "hours": len(self.hours),
            "hours_differing": [_hour(start_ms, sides) for start_ms, sides in self.differing_hours()[:EXAMPLES]],
            **faults_json(self.faults()),
        }


@dataclass
class BillsReport(PairReport):
    """With numbers for people. Money by currency: `used` is `billed` + `waiting` if all is well and the logs are
    whole. `waiting` are events that are counted and not yet due on a bill."""

    name: str = "usage=bills"
    left: str = "llm_usage"
    right: str = "billing_events"
    numbers: Counter[str] = field(default_factory=Counter)  # of `COUNTS`
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    money: dict[str, dict[str, Decimal]] = field(default_factory=lambda: {"used": {}, "billed": {}, "waiting": {}})

    def add_money(self, side: str, currency: str, cost: Decimal) -> None:
        sums = self.money[side]
        sums[currency] = EXACT.add(sums.get(currency, ZERO), cost)

    def in_full(self) -> dict[str, Any]:
        """Plain JSON types; money as decimal strings."""
        return {
            "ok": self.ok,
            "events": self.events,
            **{name: self.numbers[name] for name, _ in COUNTS},
            **faults_json(self.faults()),
            "still_open": self.numbers["buckets_waiting"],
            "rejected": dict(sorted(self.rejected.items())),
            **{name: {key: f"{cost:.12f}" for key, cost in sorted(sums.items())} for name, sums in self.money.items()},
        }


COUNTS: tuple[tuple[str, str], ...] = (
    ("events_read", "usage records read"),
    ("unread", "… of them not yet reached by the workers"),
    ("accepted", "events accepted"),
    ("duplicates", "repeated events ignored"),
    ("letters", "dead letters about usage"),
    ("redriven", "dead letters whose record was sent again"),
    ("buckets", "buckets (org, team, currency, hour)"),
    ("bills", "statements"),
    ("revisions", "… of them revisions"),
    ("other_events", "other events on billing_events"),
    ("buckets_waiting", "still open: buckets that wait for their end or for late events"),
    ("events_waiting", "events not yet due on a bill"),
    ("out_of_reach", "statements and dead letters older than the usage log"),
)
"""The plain numbers of a report, and what they are called in print."""


def faults_json(faults: tuple[tuple[str, Findings], ...]) -> dict[str, Any]:
    """How many of each kind, and the examples."""
    examples = {name: [example._asdict() for example in found.examples] for name, found in faults}
    return {**{name: found.count for name, found in faults}, "examples": examples}


def _hour(start_ms: int, sides: tuple[Sums, Sums]) -> dict[str, Any]:
    shown = {
        side: {"events": sums.events, **dict(sorted(sums.texts().items()))}
        for side, sums in zip(("left", "right"), sides, strict=True)
    }
    return {"start": time_text(start_ms), **shown}
