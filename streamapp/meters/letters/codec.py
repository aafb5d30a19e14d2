"""Rows of the dead letters table as bytes: what stands in the changelog and, byte for byte, in RocksDB.

i  ids       i + offset (8 bytes, big endian)       (4 bytes from that offset, 8 bytes digest) …
k  cause     k + cause id                           CauseRow
p  position  p                                      StoredPosition
t  tally     t + MessagePack [topic, by, reason]    dead letters, for ever
w  window    w + start (8 bytes) + cause id         dead letters in those five minutes
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from streamapp.store.table import Table
from tables.letters.fold import DIGEST_BYTES, WINDOW_MS, Ids, Tally, WindowKey
from tables.letters.incident import CauseRow

_INT = struct.Struct(">q")
_ID = struct.Struct(f">I{DIGEST_BYTES}s")
_encode = msgspec.msgpack.Encoder().encode
_decode_tally = msgspec.msgpack.Decoder(Tally).decode

pack_cause = _encode  # a cause's row
unpack_cause = msgspec.msgpack.Decoder(CauseRow).decode
pack_count = _encode  # of a window, or a tally
unpack_count = msgspec.msgpack.Decoder(int).decode


def cause_key(cause_id: str) -> bytes:
    """Key of a cause's row."""
    return b"k" + cause_id.encode()


def window_key(key: WindowKey) -> bytes:
    """Key of a window's count."""
    return b"w" + _INT.pack(key[0]) + key[1].encode()


def unpack_window_key(key: bytes) -> WindowKey:
    return _INT.unpack(key[1:9])[0], key[9:].decode()


def tally_key(tally: Tally) -> bytes:
    """Key of a tally."""
    return b"t" + _encode(tally)


def unpack_tally_key(key: bytes) -> Tally:
    tally: Tally = _decode_tally(key[1:])
    return tally


def pack_ids(chunk: int, ids: Ids) -> bytes:
    """Value of a chunk's ids."""
    return b"".join(_ID.pack(offset - chunk, digest) for offset, digest in ids)


def unpack_ids(key: bytes, value: bytes) -> tuple[int, Ids]:
    chunk: int = _INT.unpack(key[1:])[0]
    return chunk, [(chunk + distance, digest) for distance, digest in _ID.iter_unpack(value)]


def readable(key: bytes, value: bytes) -> tuple[tuple[Any, ...], Any]:
    """A row as a person or a JSON document shows it: key parts, value."""
    kind = key[:1]
    if kind == b"k":
        row = unpack_cause(value)
        facts = msgspec.to_builtins(row)
        facts["cause"] = row.cause._asdict()
        facts["alerts"] = [alert._asdict() for alert in row.alerts]
        return ("cause", key[1:].decode()), facts
    if kind == b"w":
        return ("window", *unpack_window_key(key)), unpack_count(value)
    if kind == b"t":
        return ("tally", *unpack_tally_key(key)), unpack_count(value)
    chunk, ids = unpack_ids(key, value)
    return ("ids", chunk), {"letters": len(ids)}


def readable_key(parts: tuple[Any, ...]) -> bytes:
    """The row key whose readable parts these are. Raises ValueError for anything else."""
    match parts:
        case ("cause", str(cause_id)):
            return cause_key(cause_id)
        case ("window", int(start_ms), str(cause_id)):
            return window_key((start_ms, cause_id))
        case ("tally", str(topic), str(by), str(reason)):
            return tally_key((topic, by, reason))
    raise ValueError(f"{parts!r} is not the key of a row")


LETTERS = Table("letters", b"ikptw", readable, readable_key, own_ids=True, windows={"window": WINDOW_MS})
