"""What is remembered of an event: short hashes, the same in every process and on every machine.

The express lane (runtime/express) computes the same ones.
"""

from __future__ import annotations

from xxhash import xxh64_intdigest


def print_of(value: bytes) -> bytes:
    """8 bytes that tell two different records under one id apart."""
    return xxh64_intdigest(value).to_bytes(8, "little")


def digest_of(event_id: str) -> bytes:
    """16 bytes that stand for an event id. Among 10^12 ids, two share them with a probability of 10^-15."""
    name = event_id.encode()
    return xxh64_intdigest(name).to_bytes(8, "little") + xxh64_intdigest(name, 1).to_bytes(8, "little")
