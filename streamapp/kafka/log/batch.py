"""A record batch of Kafka's log, message format 2, and what to make of one that cannot be read.

A few kilobytes can unpack to gigabytes, and a log may hold bytes that are no batch at all: a damaged disk, a client
that builds its own. So a batch is unpacked in pieces, up to a limit, and whatever is wrong with it is one exception.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cramjam
import zstandard

from streamapp.schemas.judging.rejected import UnreadableBatch

FORMAT = 2  # of messages since Kafka 0.11; a broker of today has nothing older
FORMAT_AT = 16  # in a batch of any format
LENGTH_END = 12  # behind the offset and the length, which every format begins with
RECORD_BYTES_MIN = 7  # a record without key, value and headers
UNCONFIRMED = 1_000_000  # offsets that a batch with a wrong checksum may claim, when no other follows it
PIECE_BYTES = 1 << 20
LZ4_ROOM_BYTES, LZ4_ROOM_KEPT_BYTES, LZ4_GROWTH = 1 << 20, 16 << 20, 4  # LZ4 frames do not say how long they are
CODEC, LOG_APPEND_TIME, CONTROL = 0x07, 0x08, 0x20

_HEADER = struct.Struct(">qiibIhiqqqhii")
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEAD = 16  # the magic and two versions; then blocks behind their lengths
_BLOCK = struct.Struct(">i")


class Unreadable(Exception):
    """A batch cannot be read. The text is a predicate of "the batch"."""


class Head(NamedTuple):
    """The header of a batch."""

    base_offset: int
    length: int
    leader_epoch: int
    format: int
    checksum: int
    attributes: int
    last_delta: int
    first_ms: int
    max_ms: int
    producer_id: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_delta

    @property
    def append_ms(self) -> int | None:
        """The timestamp of all records, if the broker set it."""
        return self.max_ms if self.attributes & LOG_APPEND_TIME else None

    @classmethod
    def of(cls, batch: bytes | memoryview) -> Head:
        """Raises `Unreadable` for bytes that are no batch of this format."""
        if batch[FORMAT_AT] != FORMAT:
            raise Unreadable(f"is of message format {batch[FORMAT_AT]}; only 2 is read")
        if len(batch) < _HEADER.size:
            raise Unreadable("is shorter than a header")
        return cls(*_HEADER.unpack_from(batch))


def end_of(batch: bytes, next_base: int | None, *, sound: bool) -> int:
    """The offset behind a batch. Of one with a wrong checksum (`sound` is false): where the next one in the log begins,
    else as it says, if that can be, else behind its first offset."""
    base = int.from_bytes(batch[:8], "big")
    try:
        delta = Head.of(batch).last_delta
    except Unreadable:
        delta = -1
    if sound and delta >= 0:
        return base + delta + 1
    if next_base is not None and next_base > base:
        return next_base
    return base + 1 + (delta if 0 <= delta < UNCONFIRMED else 0)


class Lost(NamedTuple):
    """A batch that cannot be read, and the timestamp of its newest record; 0 where that cannot be known."""

    batch: UnreadableBatch
    timestamp_ms: int


def lost(batch: bytes, since: int, end: int, why: str, *, sound: bool) -> Lost:
    """What stands for a batch: its records from offset `since` on, and before `end`. `sound` is false for one with a
    wrong checksum, of which nothing is believed."""
    first = max(int.from_bytes(batch[:8], "big"), since)
    try:
        newest_ms = Head.of(batch).max_ms if sound else 0
    except Unreadable:
        newest_ms = 0
    return Lost(UnreadableBatch.of(batch, first, end - 1, why), newest_ms)


def records_of(batch: bytes, head: Head, at_most: int) -> bytes:
    """The unpacked records of a batch. Raises `Unreadable`, also when they are more than `at_most` bytes."""
    if head.records == 0:
        return b""  # compaction leaves such a batch, whatever its codec
    unpacked = unpack(head.attributes & CODEC, batch[_HEADER.size :], at_most)
    if not 0 <= head.records <= len(unpacked) // RECORD_BYTES_MIN:
        raise Unreadable(f"says it has {head.records} records, which {len(unpacked)} bytes cannot hold")
    return unpacked


def unpack(codec: int, data: bytes, at_most: int) -> bytes:
    """The bytes that a producer packed. Never holds more than `at_most` bytes of them. Raises `Unreadable`."""
    if codec not in _CODECS:
        raise Unreadable(f"is packed with an unknown codec, number {codec}")
    name, decode = _CODECS[codec]
    try:
        return decode(data, at_most)
    except (zlib.error, zstandard.ZstdError, cramjam.DecompressionError, struct.error, EOFError) as error:
        raise Unreadable(f"is not {name}: {error}") from None


def _too_large(at_most: int) -> Unreadable:
    return Unreadable(f"unpacks to more than {at_most} bytes (STREAM_WORKER__BATCH_BYTES_MAX)")


def _plain(data: bytes, at_most: int) -> bytes:
    if len(data) > at_most:
        raise _too_large(at_most)
    return bytes(data)


def _gzip(data: bytes, at_most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while data:  # one member after the other
        member = zlib.decompressobj(wbits=31)
        piece = member.decompress(data, at_most - size + 1)
        size += len(piece)
        if size > at_most:
            raise _too_large(at_most)
        if not member.eof:
            raise EOFError("it ends too early")
        pieces.append(piece)
        data = member.unused_data
    return b"".join(pieces)


def _snappy(data: bytes, at_most: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _snappy_block(data, at_most)
    at, size = _XERIAL_HEAD, 0
    pieces: list[bytes] = []
    while at < len(data):
        (length,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if not 0 <= length <= len(data) - at:
            raise EOFError("a block is longer than the rest")
        block = data[at : at + length]
        size += cramjam.snappy.decompress_raw_len(block)
        if size > at_most:
            raise _too_large(at_most)
        pieces.append(_snappy_block(block, at_most))
        at += length
    return b"".join(pieces)


def _snappy_block(data: bytes, at_most: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > at_most:
        raise _too_large(at_most)
    return bytes(cramjam.snappy.decompress_raw(data))


class _Scratch(threading.local):
    """Where a thread unpacks LZ4: zeroing new memory for every batch costs as much as unpacking into it."""

    def __init__(self) -> None:
        self.room = bytearray(LZ4_ROOM_BYTES)


_scratch = _Scratch()


def _lz4(data: bytes, at_most: int) -> bytes:
    out = _scratch.room
    while True:
        try:
            size = cramjam.lz4.decompress_into(data, out)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if len(out) >= at_most:
                raise _too_large(at_most) from None
            out = bytearray(min(at_most, LZ4_GROWTH * len(out)))
            continue
        if size > at_most:
            raise _too_large(at_most)
        if len(out) <= LZ4_ROOM_KEPT_BYTES:
            _scratch.room = out
        with memoryview(out) as view:
            return bytes(view[:size])


def _zstd(data: bytes, at_most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    # A frame whose window is larger than 128 MiB is refused by the library.
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    while piece := reader.read(min(PIECE_BYTES, at_most - size + 1)):
        size += len(piece)
        if size > at_most:
            raise _too_large(at_most)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_CODECS: dict[int, tuple[str, Callable[[bytes, int], bytes]]] = {
    0: ("a batch", _plain),
    1: ("gzip", _gzip),
    2: ("snappy", _snappy),
    3: ("lz4", _lz4),
    4: ("zstd", _zstd),
}
