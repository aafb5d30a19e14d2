"""A limit on poison: a bad deploy must stop the worker, not fill the dead-letter topic.

What is refused comes from outside, one record at a time; when nearly everything is refused, the fault is more likely
ours, and dead letters would only hide it. Nothing of the chunk that goes over the limit has happened: after the repair
it is read again.

The counts are part of the position row. A worker that is started again goes on counting where the last one stopped,
and stops at the same record; so a supervisor that starts it over and over writes no dead letter more. Whoever has found
that the records are bad indeed says up to which moment: those no longer count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from streamapp.errors import Misconfigured
from streamapp.lane.records import first_offset
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import WorkerSettings
from streamapp.store.position import PoisonCounts, StoredPosition
from tables.outcome import Refusal

WINDOW_RECORDS = 50_000
SLICE_RECORDS = 5_000  # of the window, in the position row: about ten pairs of numbers


class PoisonFlood(Misconfigured):
    """More poison than bad luck explains. A person must find out whose fault it is."""


class PoisonLimit:
    """Watches one partition. `ratio` is the share of the last 50,000 records that may be refused, `consecutive` how
    many in a row. Refused records with a timestamp up to `accepted_until_ms` do not count. `counts`: where the last
    owner of the partition stopped."""

    def __init__(
        self, ratio: float, consecutive: int, accepted_until_ms: int = -1, counts: PoisonCounts | None = None
    ) -> None:
        if counts is None or counts.newest_ms <= accepted_until_ms:
            counts = PoisonCounts()
        self._ratio = ratio
        self._consecutive = consecutive
        self._accepted_until_ms = accepted_until_ms
        self._slices = deque(counts.slices)  # records, refused
        self._records = sum(records for records, _ in self._slices)
        self._refused = sum(refused for _, refused in self._slices)
        self._in_a_row, self._newest_ms = counts.in_a_row, counts.newest_ms

    @property
    def counts(self) -> PoisonCounts:
        """As of the last chunk."""
        return PoisonCounts(self._in_a_row, self._newest_ms, tuple(self._slices))

    def check(self, records: int, last_offset: int, refusals: Sequence[Refusal]) -> None:
        """Note a chunk; `refusals` in order of their offsets. Raises `PoisonFlood` when it goes over a limit."""
        counted = [one for one in refusals if one.record.timestamp > self._accepted_until_ms]
        self._note(records, len(counted))
        tail = _tail(last_offset, counted)
        self._in_a_row = self._in_a_row + tail if tail == records else tail
        if not counted:
            return
        self._newest_ms = max(self._newest_ms, *(one.record.timestamp for one in counted))
        if self._in_a_row > self._consecutive:
            raise PoisonFlood(f"{self._in_a_row} records in a row were refused {self._advice(counted[-1])}")
        if self._records >= WINDOW_RECORDS and self._refused > self._ratio * self._records:
            many = f"{self._refused} of the last {self._records} records"
            raise PoisonFlood(f"{many} were refused {self._advice(counted[-1])}")

    def _note(self, records: int, refused: int) -> None:
        if self._slices and self._slices[-1][0] + records <= SLICE_RECORDS:
            last = self._slices.pop()
            self._slices.append((last[0] + records, last[1] + refused))
        else:
            self._slices.append((records, refused))
        self._records += records
        self._refused += refused
        while self._records - self._slices[0][0] >= WINDOW_RECORDS:
            gone, refused = self._slices.popleft()
            self._records -= gone
            self._refused -= refused

    def _advice(self, last: Refusal) -> str:
        return (
            f"(the last one: {last.reason}: {last.error}); nothing of them is lost. If the fault is ours, repair it "
            f"and start. If the records are bad, stop who sends them, then let them become dead letters: start with "
            f"STREAM_WORKER__POISON_ACCEPTED_UNTIL={format_ms(self._newest_ms)} or, for those behind, a later time"
        )


def poison_limit(worker: WorkerSettings, position: StoredPosition | None) -> PoisonLimit:
    """A partition's limit by the settings, going on where its last owner stopped."""
    counts = None if position is None else position.poison
    return PoisonLimit(
        worker.poison_limit_ratio, worker.poison_limit_consecutive, worker.poison_accepted_until_ms, counts
    )


def counts_in(note: str) -> PoisonCounts | None:
    """Counts that an earlier release kept in the metadata of an offset; None for anybody else's metadata, or none."""
    try:
        return msgspec.json.decode(note, type=PoisonCounts)
    except msgspec.MsgspecError:
        return None


def _tail(last_offset: int, refusals: Sequence[Refusal]) -> int:
    """How many records at the end of a chunk were refused without a good one between them."""
    count, expected = 0, last_offset
    for refusal in reversed(refusals):
        if refusal.record.offset != expected:
            break
        count += 1
        expected = first_offset(refusal.record) - 1
    return count
