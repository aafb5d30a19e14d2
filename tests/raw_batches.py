"""Record batches made by hand, and a produce request that sends them as they are."""

from __future__ import annotations

import asyncio

import zstandard
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c

HEADER_BYTES = 61


def packed_batch(count: int, value_bytes: int, at_ms: int, codec: int = 4) -> bytes:
    """A well-formed batch of `count` records of zero bytes, packed with zstd, and never held unpacked."""
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    records = b"".join(packer.compress(_record(number, value_bytes)) for number in range(count)) + packer.flush()
    covered = b"".join(
        (
            codec.to_bytes(2, "big"),
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


def _record(number: int, value_bytes: int) -> bytes:
    body = b"\0\0" + _varint(number) + b"\x01" + _varint(value_bytes) + bytes(value_bytes) + b"\0"
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    bits, out = number << 1, bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes(out) + bytes([bits])
