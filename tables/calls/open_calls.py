"""The calls of the hours that are open, as the table of metered calls knows them.

They are counted so often, and looked at so seldom, that they need not be Python's objects: whoever keeps them hands out
rows as they are stored, and objects of an hour that closes. It is the table's fast path, too: it counts plain
records by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from tables.calls.settlement import CallsKey, HourCalls, Payment
from tables.fast_path import RowLane


class OpenCalls(RowLane, Protocol):
    """Counts the calls of open hours. Every row of such an hour is here."""

    def admit(self, row: HourCalls) -> None:
        """A stored row of an open hour."""

    def add(self, key: CallsKey, method: str, cost: Decimal, offset: int, payment: Payment) -> None:
        """Count a call in an open hour."""

    def close(self, hour_ms: int) -> Iterable[HourCalls]:
        """The hour is open no longer: all its rows, in no order."""

    def rows(self) -> Iterable[HourCalls]:
        """All rows of open hours, as they are now; they are not changed."""
