"""Rows of remembered ids as bytes, of every table that remembers ids (`tables/seen.py`).

i  ids  i + offset (8 bytes, big endian)   MessagePack [secret, {expiry: (digests, fingerprints)}] of the chunk that
                                           began there; rows of earlier versions are the map alone
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from streamapp.store.rows import Store, Writes
from tables.outcome import Folded
from tables.seen import DIGEST_BYTES, IdsByExpiry, StoredIds

KIND = b"i"
_INT = struct.Struct(">q")
pack_ids = msgspec.msgpack.Encoder().encode  # a chunk's `StoredIds`
_decode_ids = msgspec.msgpack.Decoder(IdsByExpiry | tuple[bytes, IdsByExpiry]).decode


def ids_key(chunk: int) -> bytes:
    """Key of a chunk's ids."""
    return KIND + _INT.pack(chunk)


def unpack_ids_key(key: bytes) -> int:
    chunk: int = _INT.unpack(key[1:])[0]
    return chunk


def unpack_ids(value: bytes) -> StoredIds:
    """Inverse of `pack_ids`; also of how earlier versions packed them."""
    stored = _decode_ids(value)
    return StoredIds(b"", stored) if isinstance(stored, dict) else StoredIds(*stored)


def readable_ids(value: bytes) -> dict[int, int]:
    """A chunk's ids as a person or a JSON document shows them: expiry → how many."""
    return {expiry: len(digests) // DIGEST_BYTES for expiry, (digests, _) in unpack_ids(value).by_expiry.items()}


def remembered(store: Store) -> Iterator[tuple[int, StoredIds]]:
    """Every stored chunk's ids."""
    for key, value in store.scan(KIND, b"j"):
        yield unpack_ids_key(key), unpack_ids(value)


def ids_written(outcome: Folded) -> Writes:
    """What a chunk changes of the remembered ids."""
    writes: Writes = {}
    if outcome.ids:
        writes[ids_key(outcome.chunk)] = pack_ids(outcome.ids)
    for chunk in outcome.old_ids:
        writes[ids_key(chunk)] = None
    return writes
