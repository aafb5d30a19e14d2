"""Rows of a sink, three for each partition: what stands in the changelog and, byte for byte, in RocksDB.

b  batch     b       Extent and the destination's state behind the last batch that was kept
n  intent    n       Extent and state of the batch that is being written: whoever comes next must write the same
p  position  p       StoredPosition
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamapp.store.table import Table

BATCH_KEY, INTENT_KEY = b"b", b"n"


class Extent(msgspec.Struct, array_like=True, frozen=True):
    """Consecutive records of a partition: the offsets of the first and the last one, and how many they are."""

    first: int
    last: int
    count: int


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """A batch, and what the destination has to know to write the one behind it."""

    extent: Extent
    state: bytes


pack_mark = msgspec.msgpack.Encoder().encode  # a batch, or an intent
unpack_mark = msgspec.msgpack.Decoder(Mark).decode


def _readable(key: bytes, value: bytes) -> tuple[tuple[Any, ...], Any]:
    """A row as a person or a JSON document shows it."""
    mark = unpack_mark(value)
    facts = {"first_offset": mark.extent.first, "last_offset": mark.extent.last, "records": mark.extent.count}
    return ("batch" if key == BATCH_KEY else "intent",), facts | {"state": mark.state.hex()}


_KEYS = {("batch",): BATCH_KEY, ("intent",): INTENT_KEY}


def _readable_key(parts: tuple[Any, ...]) -> bytes:
    if parts not in _KEYS:
        raise ValueError(f"{parts!r} is not the key of a row")
    return _KEYS[parts]


def marks(name: str) -> Table:
    """The table of a sink."""
    return Table(name, b"bnp", _readable, _readable_key, keyed=False)
