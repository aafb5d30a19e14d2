"""What a destination must do so that its rows can be made again from the log (decision 37, docs/adr/0054)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamapp.exact.partition.place import Place


@dataclass(frozen=True, slots=True)
class Reading:
    """Consecutive records of a partition, offsets `first` up to and with `last`, as today's code reads them.

    rows     as the sink's `read` gives them
    refused  offsets that were refused before, or would be refused today: whatever is kept of them stays as it is, also
             where there is a row
    """

    place: Place
    first: int
    last: int
    rows: Sequence[Any]
    refused: Collection[int]


@dataclass(frozen=True, slots=True)
class Difference:
    """How what is kept of a reading differs from it. `content`: what is to be written, as the destination needs it."""

    same: int
    changed: int
    missing: int
    content: Any


class Rewriter(Protocol):
    """Compares readings with what is kept, and replaces it. The same again does no harm: a rewrite that was killed is
    started again, finds what it has written, and goes on with the rest. Everything raises `Unavailable` to be asked
    again and `Misconfigured` for what only a person can mend."""

    async def begin(self, now_ms: int) -> None:
        """Called once, before the first reading."""

    async def batches(self, place: Place, first: int, end: int) -> Sequence[tuple[int, int]] | None:
        """First and last offsets of what can be replaced only as a whole, of those within `first` … `end`, which is
        excluded. None: any reading will do."""

    async def compared(self, reading: Reading) -> Difference:
        """Compare; nothing is written."""

    async def write(self, reading: Reading, difference: Difference) -> None:
        """Replace what differs. Readers see each record once, before, meanwhile and after."""

    async def finish(self) -> int:
        """Called after the last reading. Returns how many rows were replaced and are gone now."""

    async def close(self) -> None: ...
