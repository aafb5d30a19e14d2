"""A limit on poison: a bad deploy must stop the worker, not fill the dead-letter topic.

What is refused comes from outside, one record at a time; when nearly everything is refused, the fault is more likely
ours, and letters would only hide it. Nothing of the chunk that goes over the limit has happened: after the repair it is
read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from streamapp.errors import Refused
from tables.outcome import Refusal

WINDOW_RECORDS = 50_000


class PoisonFlood(Refused):
    """More poison than bad luck explains."""


class PoisonLimit:
    """Watches one partition. `ratio` is the share of the last 50,000 records that may be refused, `consecutive` how
    many in a row."""

    def __init__(self, ratio: float, consecutive: int) -> None:
        self._ratio = ratio
        self._consecutive = consecutive
        self._chunks: deque[tuple[int, int]] = deque()  # records, refused
        self._records = self._refused = self._in_a_row = 0

    def check(self, records: int, last_offset: int, refusals: Sequence[Refusal]) -> None:
        """Note a chunk; `refusals` in order of their offsets. Raises `PoisonFlood` when it goes over a limit."""
        self._chunks.append((records, len(refusals)))
        self._records += records
        self._refused += len(refusals)
        while self._records - self._chunks[0][0] >= WINDOW_RECORDS:
            gone, refused = self._chunks.popleft()
            self._records -= gone
            self._refused -= refused
        tail = _tail(last_offset, refusals)
        self._in_a_row = self._in_a_row + tail if tail == records else tail
        if not refusals:
            return
        advice = f"the last one: {refusals[-1].reason}: {refusals[-1].error}; nothing of them is lost: repair and start"
        if self._in_a_row > self._consecutive:
            raise PoisonFlood(f"{self._in_a_row} records in a row were refused ({advice})")
        if self._records >= WINDOW_RECORDS and self._refused > self._ratio * self._records:
            raise PoisonFlood(f"{self._refused} of the last {self._records} records were refused ({advice})")


def _tail(last_offset: int, refusals: Sequence[Refusal]) -> int:
    """How many records at the end of a chunk were refused without a good one between them."""
    count = 0
    for refusal in reversed(refusals):
        if refusal.record.offset != last_offset - count:
            break
        count += 1
    return count
