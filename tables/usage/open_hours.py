"""The open hours of usage, as the ledger knows them.

They are counted so often, and looked at so seldom, that they need not be Python's objects: whoever keeps them hands out
rows as they are stored, and objects of an hour that closes. It is the ledger's fast path, too: it counts plain records
by itself. Rows may count against budgets (`budget.py`), which go by numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from tables.counters import Numbers
from tables.fast_path import RowLane
from tables.unsettled import OpenRows
from tables.usage.hourly import HourKey, Names, UsageRow

StoredHour = tuple[bytes, bytes]
"""Key and value of an open hour's row, as they are stored."""


class OpenHours(RowLane, OpenRows[UsageRow], Protocol):
    """Counts the usage of open hours. Of such an hour every row is here of which nothing was stated. A row that is
    found stands for its key alone: what it counts is here."""

    def admit(self, row: UsageRow) -> None:
        """A row of an open hour, with what is stored of it."""

    def add(self, key: HourKey, names: Names, numbers: Numbers, offset: int) -> None:
        """Count a record in an open hour."""

    def stored_rows(self) -> Iterable[StoredHour]:
        """All rows of open hours, as they are stored."""

    def rounded(self) -> int:
        """How many records had a cost that was rounded since the last call."""

    def cost(self, key: HourKey) -> Decimal:
        """What a row costs; nothing, if there is none."""

    def costs(self) -> Iterable[tuple[HourKey, Decimal]]:
        """What each row costs."""

    def limit(self, is_limited: bool) -> None:
        """Whether any row may have a budget from now on. No row is bound any more; while any may have one, a record of
        a row that is not bound is not plain: the ledger binds it. Nothing is left of any budget."""

    def bind(self, key: HourKey, budget: int | None) -> None:
        """A row counts against a budget, or against none."""

    def left(self, budget: int, amount: Decimal) -> None:
        """So much is left of a budget. A record that costs as much or more is not plain."""

    def spend(self, budget: int, cost: Decimal) -> bool:
        """The ledger has counted a record. Whether less than what is left was spent; else nothing is certain."""
