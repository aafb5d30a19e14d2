"""The ids we make: `evt_` and a real ULID, 26 letters of Crockford's base 32 (decisions 2 and 12).

A ULID is 48 bits of Unix milliseconds and 80 bits that are random, or, for a statement, a digest of what it states.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import msgspec

from streamapp.schemas.values.timestamp import format_ms

RANDOM_BYTES = 10
TIME_MAX_MS = 2**48 - 1
PREFIX = "evt_"

_encode = msgspec.json.Encoder().encode
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)  # ten bits at a time, not five


def event_id(now_ms: int, random80: bytes) -> str:
    """A new event's id, to be made once per logical event and kept for every attempt to send it."""
    assert 0 <= now_ms <= TIME_MAX_MS, now_ms
    assert len(random80) == RANDOM_BYTES, len(random80)
    pairs, rest = PAIRS, int.from_bytes(random80)
    high, low = rest >> 40, rest & 0xFFFFFFFFFF
    return (
        f"{id_head(now_ms)}"
        f"{pairs[high >> 30]}{pairs[high >> 20 & 1023]}{pairs[high >> 10 & 1023]}{pairs[high & 1023]}"
        f"{pairs[low >> 30]}{pairs[low >> 20 & 1023]}{pairs[low >> 10 & 1023]}{pairs[low & 1023]}"
    )


@lru_cache(maxsize=256)  # statements of an hour have the same
def id_head(time: int) -> str:
    """How the ids of a millisecond begin: all but the random part."""
    pairs = PAIRS
    return (
        f"{PREFIX}{pairs[time >> 40]}{pairs[time >> 30 & 1023]}{pairs[time >> 20 & 1023]}"
        f"{pairs[time >> 10 & 1023]}{pairs[time & 1023]}"
    )


def statement_id(
    kind: str, org: str, team: str, currency: str, period_start_ms: int, period_end_ms: int, revision: int
) -> str:
    """The id of a statement: the same for the same statement, whoever computes it, and different for any other.

    Time part: the period's end. The other 80 bits: the first ten bytes of SHA-256 over the UTF-8 bytes of a JSON array
    of exactly six values, without spaces and without escapes for non-ASCII letters:

        ["billing.usage.hourly","org_hanzo","team_abc123","USD","2025-01-15T10:00:00.000Z",0]

    that is kind (the event type), org, team, currency, start of the period, revision.
    """
    facts = (kind, org, team, currency, format_ms(period_start_ms), revision)
    return id_of(period_end_ms, facts)


def id_of(at_ms: int, facts: tuple[str | int, ...]) -> str:
    """The id that facts have: SHA-256 over their JSON array, as above."""
    return event_id(at_ms, sha256(_encode(facts)).digest()[:RANDOM_BYTES])
