"""What the pages need to know of what teams spend in a month; as `facts/worker.py`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from streamapp.facts.worker import HourFacts


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """What a team may spend in a month. `left` is below zero where more was spent."""

    kind: str  # soft, hard
    amount: Decimal
    left: Decimal
    crossed_ms: int | None  # event time when it was stated as crossed


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """A month of a team of an org, in one currency, as of the newest event that is counted."""

    org: str
    team: str
    currency: str
    month: str  # 2025-01
    spent: Decimal  # billed and open
    billed: Decimal  # what bills state
    open: Decimal  # what open hours and late events count beside
    rate_per_hour: Decimal  # over the last day
    forecast: Decimal  # of the whole month, at that rate
    limits: tuple[LimitFacts, ...]  # the lowest first
    partition: int
    watermark_ms: int | None


@dataclass(frozen=True, slots=True)
class MonthTally:
    """Of one partition: how many months match, and what they come to by currency."""

    partition: int
    months: int
    spent: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Spending:
    """One worker's answer: the months with the highest sums, and all of them added up."""

    months: list[BudgetFacts]
    tallies: list[MonthTally]


@runtime_checkable
class ModelsView(Protocol):
    """What a worker that bills usage can tell of an hour."""

    def models(self, row: HourFacts) -> list[tuple[str, str, HourFacts]]:
        """Provider, model, and what it has of the hour; one read of the local store at most."""


@runtime_checkable
class BudgetsView(Protocol):
    """What a worker that bills usage can tell of months."""

    def budgets(self, org: str, team: str, month: str) -> list[BudgetFacts]:
        """A team's month, one entry per currency; empty when it is at home elsewhere. Empty `month`: the present one
        in event time. Never older than the newest chunk."""

    def spending(self, month: str, org: str, team: str, most: int) -> Spending:
        """The months whose org and team contain these texts. Of each partition in hand the `most` highest."""
