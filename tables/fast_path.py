"""The fast path: what may count plain records in the ledger's place, much faster.

A record is plain when counting it changes nothing but one line of an open hour, the watermark and the remembered ids.
Most records are. The lane takes as many as follow each other and stops at the first that is not plain, for which it
does nothing: the ledger does that one, and asks the lane again. So the ledger alone knows the rules, and a lane may
know as few of them as it likes.

What a lane counts it keeps as sums, one a line, until the ledger takes them: before a mark is crossed, and at the end
of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from tables.counters import Numbers
from tables.usage_hourly import HourKey, Line


class LineKey(NamedTuple):
    """Which line of which hour."""

    hour: HourKey
    provider: str
    model: str


Sum = tuple[Line, Numbers, int, int]
"""What one line counted, and the offsets of its first and last record."""


class Passing(Protocol):
    """What counts plain records of one partition, whatever the table. It shares the fold's remembered ids."""

    def load(self, records: Sequence[Any]) -> None:
        """The chunk that is counted next."""

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        """Count records of the chunk from `at` on. Returns the first that was not counted, the watermark and the
        number of repeated events among the others."""


class UsageLane(Passing, Protocol):
    """The lane of the usage ledger."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`. `is_new`: none of its rows can be stored, so a
        line that is not known is a new one."""

    def close(self, hour_ms: int) -> None:
        """The hour is open no longer, or some of its rows are not. Its sums were taken."""

    def learn(self, key: LineKey, line: Line) -> None:
        """A line of an open hour."""

    def take(self, line_of: Callable[[LineKey], Line]) -> Iterable[Sum]:
        """What was counted since the last call. `line_of` makes the lines that the lane found by itself."""


class NoUsageLane:
    """The lane that takes nothing: the ledger counts every record."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool) -> None:
        pass

    def close(self, hour_ms: int) -> None:
        pass

    def learn(self, key: LineKey, line: Line) -> None:
        pass

    def load(self, records: Sequence[Any]) -> None:
        pass

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        return at, watermark_ms, 0

    def take(self, line_of: Callable[[LineKey], Line]) -> Iterable[Sum]:
        return ()
