"""What all compiled lanes have in common: their hours, and how they walk over a chunk, one stretch after the other."""

from __future__ import annotations

import ctypes
import struct
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import Run, library
from streamapp.lane.records import Records, Stretch, payload_of
from tables.counters import EXACT
from tables.window import EVERY, HOUR_MS

_NO_MEMORY = -2
LOW = (1 << 64) - 1
_UNITS, UNIT = Decimal("1E12"), Decimal("1E-12")
_LENGTHS = struct.Struct("<2I")


class Walk:
    """Half of a fast path (`tables.fast_path`): the lane that the library's function `new` makes. What is counted, and
    how it is taken, is the subclass's.

    Plain records are counted with the ids of `seen`; `partition` of `partitions` is where their keys are at home.
    """

    def __init__(
        self, new: str, seen: CompactSeen, partition: int, partitions: int, future_ms: int, *more: object
    ) -> None:
        self._library = library()
        self._seen = seen  # its memory is used as long as this lives
        self._handle = getattr(self._library, new)(seen.handle, partition, partitions, future_ms, *more)
        if not self._handle:
            raise MemoryError("no memory for the fast path")
        weakref.finalize(self, self._library.lane_free, self._handle)
        self._records = Records()  # the chunk that is counted

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        """An hour is open; ids counted in it expire at `expiry_ms`. `is_new`: none of its rows can be stored."""
        done(self._library.lane_open(self._handle, hour_ms, expiry_ms // HOUR_MS, is_new))

    def close_hour(self, hour_ms: int) -> None:
        """The hour is open no longer."""
        self._library.lane_close(self._handle, hour_ms)

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
            run = self._library.lane_run
            at = done(run(self._handle, payload.data, payload.parts, at + shift, stop, told)) - shift
            if at < end:
                break
        return at, state.watermark_ms, state.duplicates


class KeptRows(Walk):
    """A lane that keeps the rows of its open hours (`c/tables/rows.c`), as they are stored. Each has lines, of which
    `names_max` are told apart. `NEW` makes it."""

    NEW: ClassVar[str]

    def __init__(
        self, seen: CompactSeen, partition: int, partitions: int, future_ms: int, names_max: int = EVERY
    ) -> None:
        super().__init__(self.NEW, seen, partition, partitions, future_ms, names_max)
        self.hours: list[int] = []  # that are open

    def open(self, hour_ms: int, expiry_ms: int, is_new: bool = False) -> None:
        super().open(hour_ms, expiry_ms, is_new)
        self.hours.append(hour_ms)

    def close_hour(self, hour_ms: int) -> None:
        super().close_hour(hour_ms)
        self.hours.remove(hour_ms)

    def changed(self) -> dict[bytes, bytes]:
        """Rows that changed since the last call."""
        start = ctypes.c_void_p()
        return dict(_split(start, done(self._library.rows_changed(self._handle, ctypes.byref(start)))))

    def stored_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows, hour by hour."""
        for hour_ms in self.hours:
            yield from self._of(hour_ms)

    def others(self) -> int:
        """How many records counted in a line of the others since the last call."""
        count: int = self._library.rows_others(self._handle)
        return count

    def __len__(self) -> int:
        count: int = self._library.rows_count(self._handle)
        return count

    def _of(self, hour_ms: int) -> list[tuple[bytes, bytes]]:
        start = ctypes.c_void_p()
        return list(_split(start, done(self._library.rows_of(self._handle, hour_ms, ctypes.byref(start)))))


def taken(start: ctypes.c_void_p, length: int) -> bytes:
    """The bytes that the library has laid out; they stay there until its next call."""
    return ctypes.string_at(start, length) if length else b""


def _split(start: ctypes.c_void_p, length: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of rows that lie back to back behind their lengths."""
    packed = taken(start, length)
    at, lengths = 0, _LENGTHS.unpack_from
    while at < length:
        key_length, value_length = lengths(packed, at)
        key_at = at + _LENGTHS.size
        value_at = key_at + key_length
        at = value_at + value_length
        yield packed[key_at:value_at], packed[value_at:at]


def done(result: int) -> int:
    """What a call of the library returned. Raises MemoryError when it had none."""
    if result == _NO_MEMORY:
        raise MemoryError("no memory for the fast path")
    return result


def halves(number: int) -> tuple[int, int]:
    """A number of 128 bits as the library takes it: the low half and the high one."""
    return number & LOW, number >> 64


def units(amount: Decimal) -> tuple[int, int]:
    """Money likewise, in units of 10^-12."""
    return halves(int(EXACT.multiply(amount, _UNITS)))


def amount(low: int, high: int) -> Decimal:
    """Money that the library has counted."""
    return EXACT.multiply(Decimal(high << 64 | low), UNIT)


def one_stretch(records: Sequence[Any]) -> Stretch:
    """Records that are objects, as a stretch."""
    payload = payload_of(records)
    return Stretch(payload, 0, payload.count)
