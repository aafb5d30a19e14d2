"""The counters of usage, summed exactly."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from operator import add, sub
from typing import NamedTuple

from streamapp.verify.read.event import EXACT, ZERO


class Totals(NamedTuple):
    """The counters of one event, of a line of a bill, or of a bill. Sums are exact."""

    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal = ZERO

    def plus(self, other: Totals) -> Totals:
        return Totals(*map(add, self[:-1], other[:-1]), EXACT.add(self.cost, other.cost))

    def minus(self, other: Totals) -> Totals:
        return Totals(*map(sub, self[:-1], other[:-1]), EXACT.subtract(self.cost, other.cost))

    def amounts(self, currency: str) -> dict[str, Decimal | int]:
        """What a report sums by hour, beside the number of events."""
        return {"total_tokens": self.total_tokens, f"cost {currency}": self.cost}


def total(lines: Iterable[Totals]) -> Totals:
    """The sum of the lines."""
    whole = Totals()
    for line in lines:
        whole = whole.plus(line)
    return whole
