"""aiokafka's reading of a fetched partition, told to leave the records in their batches.

aiokafka checks the sums, skips aborted transactions and control batches, and keeps the position: that stays. Between
its reader of batches (`MemoryRecords`) and its loop over their records (`PartitionRecords`) stands `Batches`: for a
partition of ours, a batch is a single "record", the stretch of all of them.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.record.memory_records import MemoryRecords

from streamapp.errors import Unavailable
from streamapp.runtime.records import Stretch, read_payload

FORMAT = 2  # of messages since Kafka 0.11; a broker of today converts nothing older
_FORMAT_AT = 16  # in a batch of any format
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CODEC, _LOG_APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20
_DECODERS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}


class Batches:
    """What a fetch brought of a partition: aiokafka's own batches, or ours. Stands in for `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._inner = MemoryRecords(data)
        self._data = data
        self._at = 0
        self.whole_from: int | None = None  # the offset that was asked for, in a partition of ours
        self.has_next = self._inner.has_next
        self.size_in_bytes = self._inner.size_in_bytes

    def next_batch(self) -> Any:
        batch = self._inner.next_batch()
        if self.whole_from is None:
            return batch
        found = self._data[self._at + _FORMAT_AT]
        if found != FORMAT:
            offset = int.from_bytes(self._data[self._at : self._at + 8], "big")
            raise Unavailable(f"the batch at offset {offset} is of message format {found}; only 2 is read")
        header = _HEADER.unpack_from(self._data, self._at)
        start, self._at = self._at, self._at + 12 + header[1]
        if header[5] & _CONTROL:
            return batch
        return Batch(batch, header, self._data[start + _HEADER.size : self._at], self.whole_from)


class Batch:
    """One batch of data. What aiokafka asks of it, its own batch answers; the records are one stretch."""

    def __init__(self, inner: Any, header: tuple[int, ...], content: bytes, since: int) -> None:
        self._header = header
        self._content = content
        self._since = since
        self.validate_crc = inner.validate_crc
        self.producer_id = inner.producer_id
        self.is_transactional = inner.is_transactional
        self.is_control_batch = False
        self.base_offset = inner.base_offset
        self.next_offset = inner.next_offset
        self.offset = inner.next_offset - 1  # as a record: its last

    def __iter__(self) -> Iterator[Batch]:
        return iter((self,))

    def stretch(self) -> Stretch:
        """Its records, but those before the offset that was asked for: Kafka sends batches whole."""
        base_offset, _, _, _, _, attributes, _, first_ms, max_ms, _, _, _, count = self._header
        data = bytes(_DECODERS[attributes & _CODEC](self._content))
        append_ms = max_ms if attributes & _LOG_APPEND_TIME else None
        payload = read_payload(data, base_offset, first_ms, append_ms, count)
        return Stretch(payload, 0, payload.count).since(self._since)


class WholeBatches(OrderedDict[Any, Any]):
    """aiokafka's buffer of fetched results, told to hand out stretches of records."""

    def __setitem__(self, tp: Any, result: Any) -> None:
        if isinstance(result, FetchResult) and result.has_more():
            records = result._partition_records
            records._records.whole_from = records.next_fetch_offset
            records._consumer_record = _as_stretch
        super().__setitem__(tp, result)


def _as_stretch(tp: Any, batch: Batch) -> Stretch:
    return batch.stretch()


def keep_batches() -> None:
    """Let every consumer of this process fetch through `Batches`. Only those with `WholeBatches` notice."""
    fetcher.MemoryRecords = Batches
