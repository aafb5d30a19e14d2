"""A client's uuid and the event's id. The same event sent again is the same event: same uuid, same id.

The id is a function of team and uuid alone. Its time part is that of the uuid (version 7), else 0: there is no time
that every attempt to send the event would agree on. Its 80 other bits are a digest of team and uuid: nothing
downstream looks at an id without its team, so that a team that finds two uuids of one digest only hurts itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from xxhash import xxh3_128_digest

from streamapp.schemas.values.ulid import ALPHABET, PAIRS, PREFIX

_LETTERS = "".join(ALPHABET[byte & 31] for byte in range(256)).encode()  # five bits of each byte: 16 letters, 80 bits
_SHAPES = bytes(ord("h") if chr(byte) in "0123456789abcdef" else byte for byte in range(256))
_SHAPE = b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"


def read_uuid(value: Any) -> str | None:
    """The uuid in its usual form, or None if it is not one."""
    if type(value) is not str or not value.isascii():
        return None
    if value.encode().translate(_SHAPES) == _SHAPE:
        return value
    try:
        return str(UUID(value))
    except ValueError:
        return None


def new_uuid(now_ms: int, entropy: bytes) -> str:
    """Version 7: the time, then 74 of 80 random bits."""
    bits = now_ms << 80 | int.from_bytes(entropy)
    bits = bits & ~(0xF << 76) | 7 << 76
    return str(UUID(int=bits & ~(0x3 << 62) | 2 << 62))


def id_of(uuid: str, team: bytes) -> str:
    """`evt_` and a ULID."""
    made_ms = int(uuid[:8] + uuid[9:13], 16) if uuid[14] == "7" else 0
    letters = xxh3_128_digest(team + uuid.encode()).translate(_LETTERS).decode()
    return _high(made_ms >> 10) + PAIRS[made_ms & 1023] + letters


@lru_cache(maxsize=4096)
def _high(seconds: int) -> str:
    """The first eight letters, which change about every second."""
    letters = (PAIRS[seconds >> shift & 1023] for shift in (30, 20, 10, 0))
    return PREFIX + "".join(letters)
