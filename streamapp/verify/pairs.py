"""All pairs of records that must agree, and how each of them is checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from streamapp.clock import monotonic_s
from streamapp.errors import StreamError
from streamapp.settings import Settings
from streamapp.verify import usage_counters
from streamapp.verify.bills import ledgers, metering_settlements, usage_bills, usage_crossings
from streamapp.verify.copies import audit_archive, events_clickhouse
from streamapp.verify.engine import Check, Pair
from streamapp.verify.report import PairReport

PAIRS: tuple[Pair, ...] = (
    usage_bills.PAIR,
    usage_crossings.PAIR,
    ledgers.BILLS,
    usage_counters.PAIR,
    metering_settlements.PAIR,
    ledgers.SETTLED,
    audit_archive.PAIR,
    events_clickhouse.PAIR,
)
"""In the order in which they are checked: from the raw events outwards."""

NAMES = tuple(pair.name for pair in PAIRS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check: a report, or why there is none."""

    name: str
    seconds: float
    report: PairReport | None = None
    error: StreamError | None = None
    differed: bool = False  # both readings did, wherever

    @property
    def ok(self) -> bool:
        return self.report is not None and self.report.difference == 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; `error` is null for a pair that was checked."""
        found = {"name": self.name} if self.report is None else self.report.as_json()
        return {**found, "seconds": round(self.seconds, 3), "error": None if self.error is None else str(self.error)}


def look(name: str, check: Check, settings: Settings, *, anywhere: bool = False) -> Outcome:
    """Check one pair. A pair that differs is read once more at once: only what both readings find at the same place is
    a difference; with `anywhere`, all that the second reading finds. What the world breaks is an outcome, too."""
    began_s, differed = monotonic_s(), False
    try:
        report = check(settings)
        if report.difference:
            first, report = report, check(settings)
            differed = report.difference > 0
            if not anywhere:
                report.confirm(first)
    except StreamError as error:
        return Outcome(name, monotonic_s() - began_s, error=error)
    return Outcome(name, monotonic_s() - began_s, report, differed=differed)


def wanted(names: Collection[str]) -> tuple[tuple[str, Check], ...]:
    """Name and check of each pair that is named."""
    return tuple((pair.name, pair.check) for pair in PAIRS if pair.name in names)


def kept_by(groups: Collection[str]) -> tuple[str, ...]:
    """The names of the pairs that judge the work of these groups."""
    return tuple(pair.name for pair in PAIRS if pair.group in groups)
