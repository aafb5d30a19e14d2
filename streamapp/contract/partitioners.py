"""Which function put a record on its partition, where it was not murmur2: the usual mistakes by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from zlib import crc32

from streamapp.topics.partitioner import murmur2

Place = Callable[[bytes, int], int]


def _fnv1a(key: bytes, partitions: int) -> int:
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    signed = value - (1 << 32) if value >> 31 else value
    return abs(signed) % partitions  # Go's remainder has the sign of the number


OTHERS: Mapping[str, Place] = {
    "CRC32, which librdkafka's clients use by themselves: set partitioner=murmur2_random": (
        lambda key, partitions: crc32(key) % partitions
    ),
    "FNV-1a, which sarama uses by itself: give it a murmur2 partitioner": _fnv1a,
    "murmur2 without Java's mask, which @platformatic/kafka uses by itself: give it compatibilityPartitioner": (
        lambda key, partitions: murmur2(key) % partitions
    ),
}
"""What to say → the partition by that function."""
