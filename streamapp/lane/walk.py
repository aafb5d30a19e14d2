"""What all compiled lanes have in common: they walk over a chunk's records, one stretch after the other."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from streamapp.lane.library import Run
from streamapp.lane.records import Records, Stretch, payload_of

_NO_MEMORY = -2


class Walk:
    """Half of a fast path (`tables.fast_path`): a subclass names its `step`, and the rest is its own.

    `step(data, parts, at, stop, run)` counts the plain records of a payload from `at` on, up to `stop`. It returns how
    far it came.
    """

    step: Callable[..., int]

    def __init__(self) -> None:
        self._records = Records()  # the chunk that is counted

    def load(self, records: Sequence[Any]) -> None:
        self._records = records if isinstance(records, Records) else Records([one_stretch(records)])

    def run(self, at: int, watermark_ms: int, next_mark_ms: int) -> tuple[int, int, int]:
        state = Run(watermark_ms, next_mark_ms, 0)
        told = ctypes.byref(state)
        parts, ends = self._records.stretches, self._records.ends
        for number in range(bisect_right(ends, at), len(ends)):
            part, end = parts[number], ends[number]
            payload, stop = part.payload, part.stop
            shift = stop - end  # from the chunk's numbers to the payload's
            at = done(self.step(payload.data, payload.parts, at + shift, stop, told)) - shift
            if at < end:
                break
        return at, state.watermark_ms, state.duplicates


def done(result: int) -> int:
    """What a call of the library returned. Raises MemoryError when it had none."""
    if result == _NO_MEMORY:
        raise MemoryError("no memory for the fast path")
    return result


def one_stretch(records: Sequence[Any]) -> Stretch:
    """Records that are objects, as a stretch."""
    payload = payload_of(records)
    return Stretch(payload, 0, payload.count)
