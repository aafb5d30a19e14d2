"""All pairs of records that must agree, and how each of them is checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from streamapp.clock import monotonic_s
from streamapp.errors import StreamError
from streamapp.ops import verify_analytics, verify_billing, verify_counters, verify_ledger
from streamapp.ops.verify_archive import check_archive
from streamapp.ops.verify_pair import Check, PairReport
from streamapp.ops.verify_settled_ledger import check_settled_ledger
from streamapp.ops.verify_settlements import check_settlements
from streamapp.settings import Settings

PAIRS: tuple[tuple[str, Check], ...] = (
    ("usage=bills", verify_billing.check),
    ("bills=ledger", verify_ledger.check),
    ("usage=counters", verify_counters.check),
    ("metering=settlements", check_settlements),
    ("settlements=ledger", check_settled_ledger),
    ("audit=archive", check_archive),
    ("events=clickhouse", verify_analytics.check),
)
"""The pair's name and its check, in the order in which they are looked at: from the raw events outwards."""

NAMES = tuple(name for name, _ in PAIRS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check: a report, or why there is none."""

    name: str
    seconds: float
    report: PairReport | None = None
    error: StreamError | None = None

    @property
    def ok(self) -> bool:
        """Checked, and no difference."""
        return self.report is not None and self.report.difference == 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; `error` is null for a pair that was checked."""
        found = {"name": self.name} if self.report is None else self.report.as_json()
        return {**found, "seconds": round(self.seconds, 3), "error": None if self.error is None else str(self.error)}


def look(name: str, check: Check, settings: Settings) -> Outcome:
    """Check one pair. What the world breaks is an outcome, too."""
    began_s = monotonic_s()
    try:
        report = check(settings)
    except StreamError as error:
        return Outcome(name, monotonic_s() - began_s, error=error)
    return Outcome(name, monotonic_s() - began_s, report)


def wanted(names: Iterable[str], pairs: tuple[tuple[str, Check], ...] = PAIRS) -> tuple[tuple[str, Check], ...]:
    """The pairs of these names; all when none is named."""
    chosen = {*names} or {name for name, _ in pairs}
    return tuple((name, check) for name, check in pairs if name in chosen)
