"""The fast path of the latency table: what may count plain records in the table's place, much faster.

As `tables/usage/open_hours.py` is for usage: a record is plain when counting it changes nothing but the counts of a
model that has a place, in a currency that is known, the watermark and the remembered ids. The lane stops at the first
record that is not plain and does nothing for it. What it counts it keeps as sums, one a window and series, until the
table takes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tables.fast_path import FastPath
from tables.latency.tally import Name, Tally
from tables.latency.windows import WindowKey

Sum = tuple[WindowKey, Tally]
"""What was counted in a window: each event in its minute and in its hour, with its series and with all."""


class TallyLane(FastPath, Protocol):
    """The lane of the latency table."""

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`."""

    def close(self, hour_ms: int) -> None:
        """The hour is open no longer."""

    def learn(self, name: Name, currency: str) -> None:
        """A model that has a place, paid in a currency that is known."""

    def forget(self) -> None:
        """All that was learned may be wrong. Its sums were taken."""

    def take(self) -> Iterable[Sum]:
        """What was counted since the last call."""
