"""The position row: where a partition's table stands, and which topic it was built from. Every table has one."""

from __future__ import annotations

from typing import Any

import msgspec

from streamapp.clock import Entropy
from tables.outcome import Position
from tables.seen import SECRET_BYTES, Held

POSITION_KEY = b"p"
_encode = msgspec.msgpack.Encoder().encode


class PoisonCounts(msgspec.Struct, array_like=True, frozen=True):
    """What `exact.poison` has counted in the partition. `slices` of the newest records: how many, and refused."""

    in_a_row: int = 0
    newest_ms: int = -1  # record timestamp of the newest one that was refused
    slices: tuple[tuple[int, int], ...] = ()


class StoredPosition(msgspec.Struct, array_like=True, frozen=True):
    """Written with every chunk, in the same transaction. A table without hours leaves `expired_ms` at -1."""

    next_offset: int
    watermark_ms: int
    expired_ms: int
    topic_id: str
    partitions: int
    active_ms: int  # wall clock when the last record arrived
    moved_ms: int = -1  # hours that start at or before this may count records of other partitions, too
    poison: PoisonCounts | None = None
    closed_ms: int = -1  # of a table whose hours close all at once
    secret: bytes = b""  # what its ids are under, made once; empty: it has none, or is from before there were any
    held: tuple[Held, ...] = ()  # ids that are remembered for longer (`tables/seen.py`)

    def position(self) -> Position:
        """The part the ledger works with."""
        return Position(self.next_offset, self.watermark_ms, self.expired_ms, self.closed_ms)


unpack_position = msgspec.msgpack.Decoder(StoredPosition).decode


def secret_of(position: StoredPosition | None, entropy: Entropy) -> bytes:
    """The secret of a table's ids: the one that it has, or a new one, which is kept with its next chunk."""
    return (position and position.secret) or entropy(SECRET_BYTES)


def pack_position(position: StoredPosition) -> bytes:
    """Value of the position row. Most rows hold no ids, and look as they did before ids could be held."""
    return _encode(position if position.held else msgspec.structs.astuple(position)[:-1])


def readable_position(value: bytes) -> dict[str, Any]:
    """The position row as a person or a JSON document shows it: without the secret."""
    position = unpack_position(value)
    facts = msgspec.structs.asdict(position)
    del facts["secret"]
    poison = position.poison
    if poison is not None:
        slices = [{"records": records, "refused": refused} for records, refused in poison.slices]
        facts["poison"] = {"in_a_row": poison.in_a_row, "newest_ms": poison.newest_ms, "slices": slices}
    facts["held"] = [held._asdict() for held in position.held]
    return facts
