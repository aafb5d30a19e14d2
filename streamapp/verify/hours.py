"""The hours that the independent check recomputes: what each must count, what still waits, and the sums of both sides.

An event that no statement counts waits for a mark. Whether that mark has passed is judged by what the group is known to
have read: the records below the offsets it had committed before anything else was looked at. So the check is exact
while events flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.statement import Bucket, Totals
from streamapp.verify.usage import EXACT, ZERO


@dataclass
class Due:
    """Events of one bucket that no statement counts yet, and that the same mark brings onto one."""

    first: str
    counted: Totals = field(default_factory=Totals)


@dataclass
class Hour:
    """One bucket, recomputed: what its newest statement must count, and what came later."""

    partition: int
    cut: int  # last offset the newest statement counts; -1 without a statement
    first_offset: int = -1
    last_offset: int = -1
    lines: dict[tuple[str, str], Totals] = field(default_factory=dict)
    dues: dict[int, Due] = field(default_factory=dict)  # by watermark


class HourSums(NamedTuple):
    """What is due of one clock hour, and what bills say of it, over all teams. Amounts by name."""

    due: dict[str, Decimal]
    billed: dict[str, Decimal]


class Reach:
    """What the group has surely read. `committed`: partition → offset, asked for before all else; None: everything."""

    def __init__(self, committed: Mapping[int, int] | None) -> None:
        self._committed = committed
        self._watermarks: dict[int, int] = {}

    def has(self, record: Record) -> bool:
        """Whether the record is among it."""
        return self._committed is None or record.offset < self._committed.get(record.partition, 0)

    def accepted(self, record: Record, time_ms: int) -> None:
        """An event counts: the watermark that the group has seen moves, if it has seen the event."""
        if self.has(record):
            self._watermarks[record.partition] = max(self._watermarks.get(record.partition, time_ms), time_ms)

    def past(self, partition: int, due_ms: int) -> bool:
        """Whether the group must have stated what that mark brings."""
        return self._watermarks.get(partition, -1) >= due_ms


def add(side: dict[str, Decimal], bucket: Bucket, counted: Totals) -> None:
    """Add a bucket's counts to one side of its hour."""
    amounts = ("requests", counted.requests), ("total_tokens", counted.total_tokens)
    for name, amount in (*amounts, (f"cost {bucket.currency}", counted.cost)):
        side[name] = EXACT.add(side.get(name, ZERO), Decimal(amount))
