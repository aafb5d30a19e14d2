"""The position row: where a partition's table stands, and which topic it was built from. Every table has one."""

from __future__ import annotations

import msgspec

from tables.outcome import Position

POSITION_KEY = b"p"
_encode = msgspec.msgpack.Encoder().encode


class StoredPosition(msgspec.Struct, array_like=True, frozen=True):
    """Written with every chunk, in the same transaction. A table without hours leaves `expired_ms` at -1."""

    next_offset: int
    watermark_ms: int
    expired_ms: int
    topic_id: str
    partitions: int
    active_ms: int  # wall clock when the last record arrived
    moved_ms: int = -1  # hours that start at or before this may count records of other partitions, too
    closed_ms: int = -1  # of a table whose hours close all at once

    def position(self) -> Position:
        """The part the ledger works with."""
        return Position(self.next_offset, self.watermark_ms, self.expired_ms, self.closed_ms)


_decode_position = msgspec.msgpack.Decoder(StoredPosition).decode


def pack_position(position: StoredPosition) -> bytes:
    """Value of the position row."""
    return _encode(position)


def unpack_position(value: bytes) -> StoredPosition:
    """Inverse of `pack_position`."""
    return _decode_position(value)
