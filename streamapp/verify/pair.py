"""Two records of the same facts, compared hour by hour: what one side has and the other must have.

A pair is what `streamapp verify` checks one after the other and what the gauge `stream_reconciliation_difference` is
about: usage and bills, metering and settlements, a topic and its archive. Each pair is one module with a function of
type `Check`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.settings import Settings
from streamapp.verify.report import EXAMPLES, Findings
from streamapp.verify.statement import time_text


class Sums(NamedTuple):
    """What one side has of one hour. `amounts` by name and unit: "cost USD", "total_tokens"."""

    events: int
    amounts: dict[str, Decimal]

    def __str__(self) -> str:
        return ", ".join((f"{self.events} events", *(f"{name} {amount:f}" for name, amount in self.amounts.items())))


@dataclass
class PairReport:
    """What the comparison of a pair found. `name` is the gauge's label: left=right."""

    name: str
    left: str  # what the truth is, for people: "llm_usage"
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
        """How many events or records the two sides disagree about; 0 when all is well."""
        return self.lost.count + self.doubled.count + self.wrong.count

    def confirm(self, before: PairReport) -> None:
        """Keep the differences that `before`, an earlier reading of both sides, found at the same places."""
        for (_, found), (_, earlier) in zip(self.faults(), before.faults(), strict=True):
            found.keep(earlier)

    def compare_hours(self) -> None:
        """Sums that differ although nothing else was found are wrong, one finding for each hour."""
        if not self.difference:
            for start_ms, (left, right) in self.differing_hours():
                self.wrong.add(time_text(start_ms), f"{self.left} sums to {left}, {self.right} to {right}")

    def differing_hours(self) -> list[tuple[int, tuple[Sums, Sums]]]:
        """The hours whose two sides are not the same, in order."""
        return sorted((start_ms, sides) for start_ms, sides in self.hours.items() if sides[0] != sides[1])

    def faults(self) -> tuple[tuple[str, Findings], ...]:
        """The three kinds of fault."""
        return ("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; amounts as decimal strings."""
        return {
            "name": self.name,
            "left": self.left,
            "right": self.right,
            "difference": self.difference,
            "events": self.events,
            "waiting": self.waiting,
            "out_of_reach": self.out_of_reach,
            "hours": len(self.hours),
            "hours_differing": [_hour(start_ms, sides) for start_ms, sides in self.differing_hours()[:EXAMPLES]],
            **{name: found.count for name, found in self.faults()},
            "examples": {name: [example._asdict() for example in found.examples] for name, found in self.faults()},
        }


Check = Callable[[Settings], PairReport]
"""Reads both sides to the end they have now. Raises `Unavailable` when one of them does not answer, `Misconfigured`
when a person must change something. The order in which a check looks at its sides is in `verify_reading`."""


def _hour(start_ms: int, sides: tuple[Sums, Sums]) -> dict[str, Any]:
    shown = {
        side: {"events": sums.events, **{name: f"{amount:f}" for name, amount in sorted(sums.amounts.items())}}
        for side, sums in zip(("left", "right"), sides, strict=True)
    }
    return {"start": time_text(start_ms), **shown}
