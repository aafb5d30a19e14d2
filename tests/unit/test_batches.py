"""Records left in their batches are the records that aiokafka would hand out."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st
from searches import search

from streamapp.exact.faust.batches import Batches
from streamapp.lane.records import Record, Records, Stretch, payload_of, read_payload, since, values_bytes
from streamapp.schemas.judging.rejected import UnreadableBatch

LIMIT = 1 << 20
TP = TopicPartition("topic", 0)
HEADER_BYTES = 61  # of a batch, before its records
CODECS = (0, 1, 2, 3, 4)  # none, gzip, snappy, lz4, zstd

Parts = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]

HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=200)), max_size=3)
RECORDS = st.lists(
    st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=300), HEADERS), min_size=1, max_size=12
)


def batch(records: list[Parts], base: int, codec: int, producer: int = -1, transactional: bool = False) -> bytes:
    """A batch as a producer sends it, with the offset that the broker gives it."""
    builder = DefaultRecordBatchBuilder(2, codec, int(transactional), producer, 0, 0, 4 << 20)
    for at, (key, value, headers) in enumerate(records):
        assert builder.append(at, 1_700_000_000_000 + at * 7, key, value, headers) is not None
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")  # the sum does not cover it
    return bytes(built)


def read(data: bytes, since: int, whole: bool, aborted: list[tuple[int, int]] | None = None) -> list[Any]:
    """What a partition's fetch hands out, as stretches or record by record."""
    batches = Batches(data)
    records = PartitionRecords(TP, batches, aborted, since, None, None, True, READ_COMMITTED)
    if whole:
        batches.keep_whole(since, LIMIT)
        records._consumer_record = lambda tp, one: one.stretch()
    out = list(records)
    return [*Records(out)] if whole else [Record(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in out]


@given(st.lists(st.tuples(RECORDS, st.sampled_from(CODECS)), min_size=1, max_size=4), st.integers(0, 20))
@search(200)
def test_every_record_is_the_one_that_aiokafka_reads(batches: list[tuple[list[Parts], int]], since: int) -> None:
    base, data = 0, b""
    for records, codec in batches:
        data += batch(records, base, codec)
        base += len(records)
    since %= len(batches[0][0])  # Kafka begins with the batch that holds the offset
    assert read(data, since, whole=True) == read(data, since, whole=False)


@given(RECORDS, st.integers(0, 12), st.integers(0, 12))
@search(200)
def test_records_are_a_sequence(parts: list[Parts], start: int, stop: int) -> None:
    half = len(parts) // 2
    records = Records()
    for base, some in ((40, parts[:half]), (40 + half, parts[half:])):
        if some:
            records.extend(Records(stretches(batch(some, base, 0))))
    offsets = list(range(40, 40 + len(parts)))
    assert [record.offset for record in records] == offsets
    assert [record.offset for record in records[start:stop]] == offsets[start:stop]
    assert [record.offset for record in records.since(40 + start)] == offsets[start:]
    assert [record.offset for record in since(records, 40 + start)] == offsets[start:]
    assert values_bytes(records[start:stop]) == values_bytes(list(records)[start:stop])
    assert (records.first_offset, records.last_offset) == (offsets[0], offsets[-1])
    assert (records[0].offset, records[-1].offset, len(records)) == (offsets[0], offsets[-1], len(offsets))
    with pytest.raises(IndexError):
        records[len(records)]


def stretches(data: bytes) -> list[Any]:
    """The stretches of a fetched partition."""
    batches = Batches(data)
    batches.keep_whole(0, LIMIT)
    found = []
    while batches.has_next():
        found.append(batches.next_batch().stretch())
    return found


def test_an_aborted_transaction_is_left_out() -> None:
    kept: list[Parts] = [(b"k", b"kept", [])]
    gone: list[Parts] = [(b"k", b"gone", []), (b"k", b"too", [])]
    data = batch(kept, 0, 3) + batch(gone, 1, 3, producer=9, transactional=True) + batch(kept, 3, 3)
    assert [record.offset for record in read(data, 0, whole=True, aborted=[(9, 1)])] == [0, 3]


def test_damaged_bytes_are_told() -> None:
    with pytest.raises(ValueError, match="does not have the 1 records"):
        read_payload(b"\x10\x00\x00", 7, 0, None, 1)


def test_records_that_are_objects_are_laid_out_alike() -> None:
    plain = read(batch([(b"a", None, []), (None, b"b", []), (b"", b"", [])], 5, 0), 0, whole=False)
    payload = payload_of(plain)
    assert [payload.record(at) for at in range(payload.count)] == plain


def test_an_index_before_the_first_is_an_error() -> None:
    payload = payload_of(Record(number, 0, b"k", b"v", ()) for number in range(100))
    with pytest.raises(IndexError):
        Records([Stretch(payload, 10, 13)])[-4]


def test_headers_end_where_their_record_does() -> None:
    data = batch([(b"k", b"v", [("name", b"content")])], 0, 0)[HEADER_BYTES:]
    assert read_payload(data, 0, 0, None, 1).record(0).headers == (("name", b"content"),)
    for cut in range(1, len(b"content") + 2):
        length = bytes([data[0] - 2 * cut])  # the record's own length, as a zigzag varint
        with pytest.raises(ValueError, match="does not have"):
            read_payload(length + data[1:-cut], 0, 0, None, 1)


def test_an_old_message_format_is_told() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    builder.append(5, 1_700_000_000_000, b"k", b"v")
    batches = Batches(bytes(builder.build()))
    batches.keep_whole(0, LIMIT)
    (record,) = Records([batches.next_batch().stretch()])
    assert "of message format 1" in lost(record).error


def lost(record: Record) -> UnreadableBatch:
    """The batch that a record stands for."""
    assert isinstance(record.value, UnreadableBatch)
    return record.value


GOOD: list[Parts] = [(b"k", b"value", []), (b"k", b"another", []), (None, b"third", [])]


def rechecked(data: bytes) -> bytes:
    """A batch whose header was changed, with the checksum that it would have."""
    checksum: int = calc_crc32c(data[21:])
    return data[:17] + checksum.to_bytes(4, "big") + data[21:]


def spoiled(how: str) -> bytes:
    """A batch of three records at offset 10 with a fault."""
    data = batch(GOOD, 10, 0)
    if how == "checksum":
        return data[:-1] + bytes([data[-1] ^ 1])
    if how == "format":
        return data[:16] + b"\x01" + data[17:]
    if how == "codec":
        return rechecked(data[:22] + b"\x05" + data[23:])
    if how == "count":
        return rechecked(data[:57] + (1 << 30).to_bytes(4, "big") + data[61:])
    if how == "negative count":
        return rechecked(data[:57] + b"\xff" * 4 + data[61:])
    if how == "length":
        return rechecked(data[:61] + bytes([data[61] + 2]) + data[62:])
    if how == "offsets":
        return rechecked(data[:23] + (1).to_bytes(4, "big") + data[27:])
    if how == "header control":
        return data[:22] + b"\x20" + data[23:]
    name, codec = how.split()
    if name == "large":
        return batch([(b"k", bytes(200_000), [])] * 9, 10, int(codec))
    packed = batch([(b"k", bytes(range(200)), [])] * 9, 10, int(codec))
    return rechecked(packed[:70] + bytes(len(packed) - 70))


FAULTS = {
    "checksum": "does not match its checksum",
    "format": "is of message format 1",
    "codec": "unknown codec, number 5",
    "count": "says it has 1073741824 records",
    "negative count": "says it has -1 records",
    "length": "does not have the 3 records",
    "offsets": "has records behind its last offset",
    "header control": "does not match its checksum",
    **{f"large {codec}": f"unpacks to more than {1 << 20} bytes" for codec in CODECS},
    **{f"broken {codec}": "" for codec in CODECS[1:]},
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_batch_that_cannot_be_read_stands_as_one_record_and_the_next_is_read(how: str) -> None:
    bad = spoiled(how)
    data = batch(GOOD, 7, 3) + bad + batch(GOOD, 19 if how[:5] in ("large", "broke") else 13, 3)
    records = read(data, 0, whole=True)
    assert [record.value for record in records[:3] + records[4:]] == 2 * [value for _, value, _ in GOOD]
    last = 11 if how == "offsets" else records[4].offset - 1
    found = lost(records[3])
    assert (records[3].offset, found.first, found.last, bytes(found)) == (last, 10, last, bad)
    assert FAULTS[how] in found.error


def test_a_damaged_batch_of_an_aborted_transaction_is_left_out() -> None:
    bad = rechecked(batch(GOOD, 1, 0, producer=9, transactional=True)[:57] + b"\xff" * 4 + bytes(9))
    bad = rechecked(bad[:8] + (len(bad) - 12).to_bytes(4, "big") + bad[12:])
    data = batch(GOOD[:1], 0, 3) + bad + batch(GOOD, 4, 3)
    assert [record.offset for record in read(data, 0, whole=True, aborted=[(9, 1)])] == [0, 4, 5, 6]


def test_a_damaged_batch_at_the_end_of_a_fetch_ends_where_it_says_if_that_can_be() -> None:
    data = spoiled("checksum")
    assert lost(read(data, 0, whole=True)[0]).last == 12
    far = data[:23] + (1 << 30).to_bytes(4, "big") + data[27:]
    assert lost(read(far, 0, whole=True)[0]).last == 10


def test_a_fetch_unpacks_a_bounded_number_of_bytes() -> None:
    one: list[Parts] = [(b"k", bytes(900_000), [])]
    data = b"".join(batch(one, base, 4) for base in range(100))
    records = read(data, 0, whole=True)
    assert 16 <= len(records) < 25  # of 16 MiB; the others are fetched again
    assert [record.offset for record in records] == list(range(len(records)))


def test_lost_batches_are_cut_and_sliced_like_records() -> None:
    records = Records(stretches(batch(GOOD, 7, 3) + spoiled("count") + batch(GOOD, 13, 3)))
    assert [record.offset for record in records.before_lost(-1)] == [7, 8, 9]
    assert len(records.before_lost(10)) == len(records) == 7
    assert records[3:].first_offset == 10
    assert [record.offset for record in records.since(12)] == [12, 13, 14, 15]
    assert [record.offset for record in records.since(13)] == [13, 14, 15]
