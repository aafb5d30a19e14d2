"""What is remembered of an event: short hashes, the same in every process and on every machine."""

from __future__ import annotations

from xxhash import xxh3_64_digest, xxh3_128_digest

print_of = xxh3_64_digest
"""8 bytes that tell two different records under one id apart."""


def digest_of(event_id: str) -> bytes:
    """16 bytes that stand for an event id. Among 10^12 ids, two share them with a probability of 10^-15."""
    return xxh3_128_digest(event_id.encode())
