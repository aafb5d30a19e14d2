"""Records as they lie in Kafka's batches: a chunk of thousands without an object for each.

Making a Python object of every record, and of its key and value, costs more than counting it in the fast path. So a
batch stays the bytes it came in, beside a table of where its records lie; a record becomes an object when somebody asks
for it by itself.
"""

from __future__ import annotations

import ctypes
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, NamedTuple, overload

from streamapp.lane.library import library
from streamapp.schemas.judging.rejected import UnreadableBatch

PART = struct.Struct("<2q6i")
"""`part_t`: offset, timestamp; where key, value and headers lie, and how long they are (-1: null)."""


class Record(NamedTuple):
    """A record by itself. `timestamp` in milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """The decompressed records of a batch, and their parts."""

    data: bytes
    parts: ctypes.Array[ctypes.c_char]
    count: int

    def record(self, at: int) -> Record:
        offset, timestamp, key_at, key_length, value_at, value_length, headers_at, headers_length = self._part(at)
        return Record(
            offset,
            timestamp,
            self._bytes(key_at, key_length),
            self._bytes(value_at, value_length),
            _headers(self.data[headers_at : headers_at + headers_length]),
        )

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """Those from `start` to before `stop`, each a fifth cheaper than by itself."""
        data, parts = self.data, memoryview(self.parts).cast("B")[start * PART.size : stop * PART.size]
        for offset, timestamp, key_at, key, value_at, value, headers_at, headers in PART.iter_unpack(parts):
            yield Record(
                offset,
                timestamp,
                None if key < 0 else data[key_at : key_at + key],
                None if value < 0 else data[value_at : value_at + value],
                () if headers <= 1 else _headers(data[headers_at : headers_at + headers]),
            )

    @property
    def first_offset(self) -> int:
        """The first offset that it covers."""
        return self.offset(0)

    def offset(self, at: int) -> int:
        offset: int = self._part(at)[0]
        return offset

    def _part(self, at: int) -> tuple[int, ...]:
        return PART.unpack_from(self.parts, at * PART.size)

    def _bytes(self, at: int, length: int) -> bytes | None:
        return None if length < 0 else self.data[at : at + length]


@dataclass(frozen=True, slots=True)
class LostPayload(Payload):
    """A batch that cannot be read, as one record in place of all: its offset is the batch's last, its value the batch.
    To the readers in C it is a record without a value: such a one they leave to those in Python."""

    batch: UnreadableBatch

    @classmethod
    def of(cls, batch: UnreadableBatch, timestamp_ms: int) -> LostPayload:
        part = PART.pack(batch.last, timestamp_ms, 0, -1, 0, -1, 0, 0)
        return cls(b"", ctypes.create_string_buffer(part, len(part)), 1, batch)

    @property
    def first_offset(self) -> int:
        return self.batch.first

    def record(self, at: int) -> Record:
        offset, timestamp, *_ = self._part(at)
        return Record(offset, timestamp, None, self.batch, ())

    def records(self, start: int, stop: int) -> Iterator[Record]:
        return (self.record(at) for at in range(start, stop))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some of a payload's records that follow each other: from `start` to before `stop`."""

    payload: Payload
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def values_bytes(self) -> int:
        """How many bytes the records' values have."""
        size: int = library().batch_bytes(self.payload.parts, self.start, self.stop)
        return size

    def since(self, offset: int) -> Stretch:
        """The records at this offset and behind."""
        offsets = range(self.start, self.stop)
        return replace(self, start=self.start + bisect_left(offsets, offset, key=self.payload.offset))


def read_payload(data: bytes, base_offset: int, base_ms: int, append_ms: int | None, count: int) -> Payload:
    """Find the records of a decompressed batch. `append_ms` is their timestamp if the broker set it.

    Raises ValueError for bytes that are no such batch, though their checksum may be right.
    """
    parts = ctypes.create_string_buffer(count * PART.size)
    append = -1 if append_ms is None else append_ms
    if not library().batch_read(data, len(data), base_offset, base_ms, append, count, parts):
        raise ValueError(f"the batch does not have the {count} records that it says")
    return Payload(data, parts, count)


def first_offset(record: Any) -> int:
    """The first offset that a record covers: its own, unless it stands for a batch that cannot be read."""
    return record.value.first if isinstance(record.value, UnreadableBatch) else int(record.offset)


def values_bytes(records: Sequence[Any]) -> int:
    """How many bytes the records' values have."""
    if isinstance(records, Records):
        return sum(part.values_bytes for part in records.stretches)
    return sum(len(record.value or b"") for record in records)


def since(records: Sequence[Any], offset: int) -> Sequence[Any]:
    """Of consecutive records those at this offset and behind."""
    if not records or records[0].offset >= offset:
        return records
    return records[bisect_left(records, offset, key=lambda record: record.offset) :]


def payload_of(records: Iterable[Any]) -> Payload:
    """Records that are objects already, laid out as in a batch; their headers are left out."""
    parts, data, at = [], [], 0
    for record in records:
        key, value = record.key, record.value
        key_length, value_length = _length(key), _length(value)
        value_at = at + max(key_length, 0)
        end = value_at + max(value_length, 0)
        parts.append(PART.pack(record.offset, record.timestamp, at, key_length, value_at, value_length, end, 0))
        data += [key or b"", value or b""]
        at = end
    packed = b"".join(parts)
    return Payload(b"".join(data), ctypes.create_string_buffer(packed, len(packed)), len(parts))


class Records(Sequence[Record]):
    """Records of a partition in order, in stretches of their batches. No stretch is empty."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        self.stretches = [stretch for stretch in stretches if len(stretch)]
        self.ends = list(accumulate(map(len, self.stretches)))  # where each stretch ends among the records

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(part.payload.records(part.start, part.stop) for part in self.stretches)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Records: ...
    def __getitem__(self, at: int | slice) -> Record | Records:
        if isinstance(at, slice):
            return self._slice(*at.indices(len(self)))
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError("there are not so many records")
        number = bisect_right(self.ends, at)
        part = self.stretches[number]
        return part.payload.record(part.stop - self.ends[number] + at)

    @property
    def first_offset(self) -> int:
        part = self.stretches[0]
        return part.payload.offset(part.start) if part.start else part.payload.first_offset

    @property
    def last_offset(self) -> int:
        part = self.stretches[-1]
        return part.payload.offset(part.stop - 1)

    def before_lost(self, passed: int) -> Records:
        """The records before the first batch that cannot be read and begins behind `passed`; else all."""
        for number, part in enumerate(self.stretches):
            if isinstance(part.payload, LostPayload) and part.payload.first_offset > passed:
                return Records(self.stretches[:number])
        return self

    def extend(self, more: Records) -> None:
        """Add records that follow."""
        before = len(self)
        self.stretches += more.stretches
        self.ends += [before + end for end in more.ends]

    def since(self, offset: int) -> Records:
        """The records at this offset and behind."""
        if self.stretches and self.first_offset >= offset:
            return self
        return Records(part.since(offset) for part in self.stretches)

    def _slice(self, start: int, stop: int, step: int) -> Records:
        assert step == 1, "records follow each other"
        if start >= stop:
            return Records()
        first, last = bisect_right(self.ends, start), bisect_left(self.ends, stop)
        parts = self.stretches[first : last + 1]
        behind = self.ends[last] - stop
        before = start - (self.ends[first] - len(parts[0]))
        if behind:
            parts[-1] = replace(parts[-1], stop=parts[-1].stop - behind)
        if before:
            parts[0] = replace(parts[0], start=parts[0].start + before)
        return Records(parts)


def _length(part: bytes | None) -> int:
    return -1 if part is None else len(part)


def _headers(data: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """A count, then keys and values behind their lengths, all as zigzag varints."""
    if len(data) <= 1:
        return ()
    count, at = _varint(data, 0)
    headers = []
    for _ in range(count):
        length, at = _varint(data, at)
        name, at = data[at : at + length], at + length
        length, at = _varint(data, at)
        headers.append((name.decode(errors="replace"), None if length < 0 else data[at : at + length]))
        at += max(length, 0)
    return tuple(headers)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    bits = shift = 0
    while True:
        byte = data[at]
        at += 1
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            return bits >> 1 ^ -(bits & 1), at
        shift += 7
