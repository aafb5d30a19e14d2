"""Record batches made by hand, a produce request that sends them as they are, and damage to a broker's disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import zstandard
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c

HEADER_BYTES = 61
ZSTD = 4
DAMAGES = ("compression", "codec", "checksum")


def packed_batch(count: int, value_bytes: int, at_ms: int, key: bytes | None = None) -> bytes:
    """A well-formed batch of `count` records of zero bytes, packed with zstd, and never held unpacked."""
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    records = b"".join(packer.compress(_record(number, key, value_bytes)) for number in range(count)) + packer.flush()
    covered = b"".join(
        (
            ZSTD.to_bytes(2, "big"),
            (count - 1).to_bytes(4, "big"),
            at_ms.to_bytes(8, "big") * 2,
            b"\xff" * 14,  # no producer
            count.to_bytes(4, "big"),
            records,
        )
    )
    length = (HEADER_BYTES - 12 - 40 + len(covered)).to_bytes(4, "big")
    checksum: int = calc_crc32c(covered)
    return bytes(8) + length + bytes(4) + b"\x02" + checksum.to_bytes(4, "big") + covered


def send_raw(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
    """Have a broker append a batch as it is. Returns its first offset."""
    return asyncio.run(_send(bootstrap, TopicPartition(topic, partition), batch))


def damage(data_dir: Path, topic: str, partition: int, offset: int, how: str) -> None:
    """Change the batch that begins at an offset, in the log of a broker that is stopped.

    `how` is one of `DAMAGES`: packed bytes that are none, a codec that nobody knows (both with a right checksum), or
    one other bit.
    """
    segment = data_dir / "log" / f"{topic}-{partition}" / f"{0:020d}.log"
    log = bytearray(segment.read_bytes())
    start, end = next((start, end) for start, end in _batches(log) if int.from_bytes(log[start : start + 8]) == offset)
    if how == "compression":
        log[start + HEADER_BYTES : end] = bytes(end - start - HEADER_BYTES)
    elif how == "codec":
        log[start + 22] = log[start + 22] & ~7 | 5
    else:
        log[end - 1] ^= 1
    if how != "checksum":
        log[start + 17 : start + 21] = calc_crc32c(bytes(log[start + 21 : end])).to_bytes(4, "big")
    segment.write_bytes(log)


def _batches(log: bytearray) -> Iterator[tuple[int, int]]:
    """Where each batch begins and ends."""
    start = 0
    while start < len(log):
        end = start + 12 + int.from_bytes(log[start + 8 : start + 12])
        yield start, end
        start = end


async def _send(bootstrap: str, at: TopicPartition, batch: bytes) -> int:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        cluster = await client.fetch_all_metadata()
        request = ProduceRequest(None, -1, 60_000, [(at.topic, [(at.partition, batch)])])
        answer = await client.send(cluster.leader_for_partition(at), request)
        code, offset = answer.topics[0][1][0][1:3]
        assert code == 0, (code, answer)
        return int(offset)
    finally:
        await client.close()


def _record(number: int, key: bytes | None, value_bytes: int) -> bytes:
    name = b"\x01" if key is None else _varint(len(key)) + key
    body = b"\0\0" + _varint(number) + name + _varint(value_bytes) + bytes(value_bytes) + b"\0"
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    bits, out = number << 1, bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes(out) + bytes([bits])
