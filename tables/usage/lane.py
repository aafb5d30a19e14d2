"""The fast path of usage: plain records are counted as sums, one a line, until the ledger takes them: before a mark is
crossed, and at the end of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple, Protocol

from tables.counters import Numbers
from tables.fast_path import FastPath, NoFastPath
from tables.usage.hourly import HourKey, Line


class LineKey(NamedTuple):
    """Which line of which hour."""

    hour: HourKey
    provider: str
    model: str


Sum = tuple[Line, Numbers, int, int]
"""What one line counted, and the offsets of its first and last record."""


class UsageLane(FastPath, Protocol):
    """The lane of the usage ledger."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`. `is_new`: none of its rows can be stored, so a
        line that is not known is a new one."""

    def close(self, hour_ms: int) -> None:
        """The hour is open no longer, or some of its rows are not. Its sums were taken."""

    def learn(self, key: LineKey, line: Line) -> None:
        """A line of an open hour."""

    def limit(self, is_limited: bool) -> None:
        """Some rows have budgets from now on: a row that is not known is left to the ledger, which knows."""

    def bind(self, hour: HourKey, budget: int) -> None:
        """A row of an open hour counts against a budget, by its number."""

    def left(self, budget: int, amount: Decimal) -> None:
        """So much is left of a budget. A record that costs as much or more is not plain. At first nothing is left."""

    def spend(self, budget: int, cost: Decimal) -> bool:
        """The ledger has counted a record. Whether less than what is left was spent; else nothing is certain."""

    def take(self, line_of: Callable[[LineKey], Line]) -> Iterable[Sum]:
        """What was counted since the last call. `line_of` makes the lines that the lane found by itself."""


class NoUsageLane(NoFastPath):
    """The lane that takes nothing: the ledger counts every record."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        pass

    def close(self, hour_ms: int) -> None:
        pass

    def learn(self, key: LineKey, line: Line) -> None:
        pass

    def limit(self, is_limited: bool) -> None:
        pass

    def bind(self, hour: HourKey, budget: int) -> None:
        pass

    def left(self, budget: int, amount: Decimal) -> None:
        pass

    def spend(self, budget: int, cost: Decimal) -> bool:
        return False

    def take(self, line_of: Callable[[LineKey], Line]) -> Iterable[Sum]:
        return ()
