"""The fast path: what may count plain records in a table's place, much faster.

A record is plain when counting it changes nothing but sums of open windows, the watermark and the remembered ids. Most
records are. A lane takes as many as follow each other and stops at the first that is not plain, for which it does
nothing: the table judges that one, and asks the lane again. So the table alone knows the rules, and a lane may know as
few of them as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class FastPath(Protocol):
    """What counts plain records of one partition, whatever the table. It shares the fold's remembered ids."""

    def load(self, records: Sequence[Any]) -> None:
        """The chunk that is counted next."""

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        """Count records of the chunk from `at` on. Returns the first that was not counted, the watermark and the
        number of repeated events among the others."""


class RowLane(FastPath, Protocol):
    """A fast path that keeps the rows of open hours, as they are stored."""

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`. `is_new`: none of its rows can be stored, so one
        that is not known is a new one."""

    def changed(self) -> Mapping[bytes, bytes]:
        """The rows of open hours that changed since the last call, as they are stored."""

    def others(self) -> int:
        """How many records counted in a line of the others since the last call."""

    def __len__(self) -> int:
        """How many rows there are."""


class NoFastPath:
    """A lane that takes nothing: the table judges and counts every record."""

    def load(self, records: Sequence[Any]) -> None:
        pass

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        return at, watermark_ms, 0
