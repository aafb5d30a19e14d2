"""What statements come to, hour by hour: the newest revision of each bucket."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from streamapp.sinks.ledger.rows import Bill
from streamapp.verify.pair import Sums
from streamapp.verify.usage import EXACT, HOUR_MS, ZERO

_Key = tuple[str, str | None, str, int]


class _Counts(NamedTuple):
    """What is kept of a statement: not its text, there may be very many."""

    revision: int
    requests: int
    total_tokens: int
    cost: Decimal


class Newest:
    """One side. Statements may come in any order."""

    def __init__(self) -> None:
        self._newest: dict[_Key, _Counts] = {}
        self._statements: dict[int, int] = {}  # hour → how many

    def add(self, row: Bill) -> None:
        """One statement."""
        hour_ms = _hour_ms(row.period_start_ms)
        self._statements[hour_ms] = self._statements.get(hour_ms, 0) + 1
        key = (row.org_id, row.team_id, row.currency, row.period_start_ms)
        counts = _Counts(row.revision, row.requests, row.total_tokens, row.cost)
        if key not in self._newest or self._newest[key].revision < row.revision:
            self._newest[key] = counts

    def beside(self, other: Newest) -> dict[int, tuple[Sums, Sums]]:
        """Hour → this side, the other side."""
        mine, others = self._sums(), other._sums()
        nothing = Sums(0, {})
        return {hour: (mine.get(hour, nothing), others.get(hour, nothing)) for hour in {*mine, *others}}

    def _sums(self) -> dict[int, Sums]:
        amounts: dict[int, dict[str, Decimal]] = {}
        for (_, _, currency, start_ms), counts in self._newest.items():
            side = amounts.setdefault(_hour_ms(start_ms), {})
            numbers = ("requests", counts.requests), ("total_tokens", counts.total_tokens)
            for name, amount in (*numbers, (f"cost {currency}", counts.cost)):
                side[name] = EXACT.add(side.get(name, ZERO), Decimal(amount))
        return {hour: Sums(self._statements[hour], side) for hour, side in amounts.items()}


def _hour_ms(start_ms: int) -> int:
    return start_ms - start_ms % HOUR_MS
