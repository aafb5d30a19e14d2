"""Captured events as columns of Arrow: plain ones are read in C, the others are judged in Python, in one order."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streamapp.lane.library import library
from streamapp.lane.records import Records
from streamapp.lane.walk import done, one_stretch
from streamapp.schemas.judging.insights import CapturedEvent, decode_captured
from streamapp.schemas.judging.rejected import Rejected
from streamapp.sinks.clickhouse.events import NUMBERS, TEXTS, Row, row_of
from tables.outcome import Refusal

if TYPE_CHECKING:
    import pyarrow

_Texts = ctypes.c_char_p * len(TEXTS)
_Lengths = ctypes.c_size_t * len(TEXTS)
_Numbers = ctypes.c_int64 * len(NUMBERS)

Judge = Callable[[bytes | None], CapturedEvent | Rejected]


class EventColumns:
    """Rows of the table of events, in the order of their records. `keep_ip`: the client's address becomes one of the
    properties."""

    def __init__(self, keep_ip: bool, judge: Judge = decode_captured) -> None:
        self._keep_ip = keep_ip
        self._judge = judge  # of the records that are not plain
        self._library = library()
        self._handle = self._library.columns_new(keep_ip)
        if not self._handle:
            raise MemoryError("no memory for columns")
        weakref.finalize(self, self._library.columns_free, self._handle)

    def __len__(self) -> int:
        count: int = self._library.columns_count(self._handle)
        return count

    def read(self, records: Sequence[Any]) -> list[Refusal]:
        """Add the events in these records. Returns those that cannot be kept, in their order."""
        known = records if isinstance(records, Records) else Records([one_stretch(records)])
        refusals: list[Refusal] = []
        at = 0
        for part, end in zip(known.stretches, known.ends, strict=True):
            payload, shift = part.payload, part.stop - end  # from the records' numbers to the payload's
            while at < end:
                run = self._library.columns_run
                reached = run(self._handle, payload.data, payload.parts, at + shift, part.stop)
                at = done(reached) - shift
                if at < end:
                    refusals += self._judged(records[at])
                    at += 1
        return refusals

    def add(self, row: Row) -> None:
        """Add one row."""
        strings = row.uuid, row.event, row.properties, row.team_id, row.distinct_id, row.session_id
        texts = [string.encode() for string in strings]
        numbers = _Numbers(row.at_ms, row.created_ms, row.offset)
        done(self._library.columns_add(self._handle, _Texts(*texts), _Lengths(*map(len, texts)), numbers))

    def arrow(self) -> pyarrow.RecordBatch:
        """All rows, in the memory where they were written: nothing may be added afterwards."""
        import pyarrow as pa

        count, moment = len(self), pa.timestamp("ms", tz="UTC")
        arrays = {}
        for number, name in enumerate(TEXTS):
            ends, data = self._buffer(2 * number), self._buffer(2 * number + 1)
            arrays[name] = pa.Array.from_buffers(pa.string(), count, [None, ends, data], null_count=0)
        for number, name in enumerate(NUMBERS, 2 * len(TEXTS)):
            kind = pa.uint64() if name == "_offset" else moment
            arrays[name] = pa.Array.from_buffers(kind, count, [None, self._buffer(number)], null_count=0)
        return pa.RecordBatch.from_pydict(arrays)

    def _judged(self, record: Any) -> list[Refusal]:
        event = self._judge(record.value)
        if isinstance(event, Rejected):
            return [Refusal(record, event.reason, event.error)]
        self.add(row_of(event, record, self._keep_ip))
        return []

    def _buffer(self, number: int) -> pyarrow.Buffer:
        """Memory of the library; this object lives as long as it is used."""
        import pyarrow as pa

        start = ctypes.c_void_p()
        length = self._library.columns_buffer(self._handle, number, ctypes.byref(start))
        return pa.foreign_buffer(start.value, length, self) if length else pa.py_buffer(b"")
