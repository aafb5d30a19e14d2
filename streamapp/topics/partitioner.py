"""Which partition a key belongs to: the Java client's default partitioner (murmur2).

The standard says that a team's events share a partition; every producer must therefore agree on this one function
(librdkafka's own default differs: set `partitioner=murmur2_random` there).
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


@lru_cache(maxsize=10_000)  # who is asked for once is asked for often: every hour's statements have the same orgs
def partition_for(key: bytes, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, to which the Java client sends a record with this key."""
    assert partitions > 0
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's variant of 32-bit murmur2, as an unsigned number."""
    length = len(data)
    tail = length & ~3
    h = (_SEED ^ length) & _MASK
    for at in range(0, tail, 4):
        k = (int.from_bytes(data[at : at + 4], "little") * _M) & _MASK
        k ^= k >> 24
        h = ((h * _M) & _MASK) ^ ((k * _M) & _MASK)
    if length > tail:
        h = ((h ^ int.from_bytes(data[tail:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)
