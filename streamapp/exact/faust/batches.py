"""aiokafka's reading of a fetched partition, told to leave the records in their batches.

aiokafka checks the sums, skips aborted transactions and control batches, and keeps the position: that stays. Between
its reader of batches (`MemoryRecords`) and its loop over their records (`PartitionRecords`) stands `Batches`: for a
partition of ours, a batch is a single "record", the stretch of all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.record.memory_records import MemoryRecords

from streamapp.kafka.log.batch import CONTROL, FORMAT, FORMAT_AT, LENGTH_END, Head, Unreadable, end_of, lost, records_of
from streamapp.lane.records import LostPayload, Payload, Stretch, read_payload

FETCH_BYTES = 16 << 20  # unpacked records that a fetch hands out, but for its last batch; the rest is fetched again


class Batches:
    """What a fetch brought of a partition: aiokafka's own batches, or ours. Stands in for `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._inner = MemoryRecords(data)
        self._data = data
        self._at = 0
        self.whole_from: int | None = None  # the offset that was asked for, in a partition of ours
        self.batch_bytes_max = 0  # unpacked
        self.unpacked = 0  # bytes, so far
        self.size_in_bytes = self._inner.size_in_bytes

    def keep_whole(self, since: int, batch_bytes_max: int) -> None:
        """Hand out stretches from the offset that was asked for; a batch may unpack to so many bytes."""
        self.whole_from, self.batch_bytes_max = since, batch_bytes_max

    def has_next(self) -> bool:
        more: bool = self._inner.has_next()
        return more and self.unpacked < FETCH_BYTES

    def next_batch(self) -> Any:
        if self.whole_from is None:
            return self._inner.next_batch()
        start, data = self._at, self._data
        self._at += LENGTH_END + int.from_bytes(data[start + 8 : start + LENGTH_END], "big")
        batch = self._inner.next_batch()
        sound = data[start + FORMAT_AT] == FORMAT and batch.validate_crc()
        if sound and Head.of(memoryview(data)[start : self._at]).attributes & CONTROL:
            return batch
        return Batch(self, batch if sound else None, bytes(data[start : self._at]), self.whole_from, self._next_base())

    def _next_base(self) -> int | None:
        """The offset of the batch that follows."""
        return int.from_bytes(self._data[self._at : self._at + 8], "big") if self._inner.has_next() else None


class Batch:
    """One batch of data; its records are one stretch. `inner` is aiokafka's, None where the checksum or the format is
    wrong: then nothing of its header is believed but where it begins, and it belongs to no transaction."""

    is_control_batch = False

    def __init__(self, fetched: Batches, inner: Any, data: bytes, since: int, next_base: int | None) -> None:
        self._fetched = fetched
        self._data = data
        self._since = since
        self._sound = inner is not None
        self.base_offset = int.from_bytes(data[:8], "big")
        self.producer_id = inner.producer_id if inner else None
        self.is_transactional = inner.is_transactional if inner else False
        self.next_offset = inner.next_offset if inner else end_of(data, next_base, sound=False)
        self.offset = self.next_offset - 1  # as a record: its last

    def validate_crc(self) -> bool:
        return True  # it is found out before, and told by `stretch`

    def __iter__(self) -> Iterator[Batch]:
        return iter((self,))

    def stretch(self) -> Stretch:
        """Its records, but those before the offset that was asked for: Kafka sends batches whole. One that cannot be
        read is a stretch of one record that stands for all."""
        try:
            payload = self._payload()
        except (Unreadable, ValueError) as error:
            why = str(error).removeprefix("the batch ")
            found = lost(self._data, self._since, self.next_offset, why, sound=self._sound)
            return Stretch(LostPayload.of(*found), 0, 1)
        return Stretch(payload, 0, payload.count).since(self._since)

    def _payload(self) -> Payload:
        head = Head.of(self._data)
        if not self._sound:
            raise Unreadable("does not match its checksum")
        unpacked = records_of(self._data, head, self._fetched.batch_bytes_max)
        self._fetched.unpacked += len(unpacked)
        payload = read_payload(unpacked, head.base_offset, head.first_ms, head.append_ms, head.records)
        if payload.count and payload.offset(payload.count - 1) > head.last_offset:
            raise Unreadable("has records behind its last offset")
        return payload


class WholeBatches(OrderedDict[Any, Any]):
    """aiokafka's buffer of fetched results, told to hand out stretches of records. `batch_bytes_max`: of a batch,
    unpacked."""

    def __init__(self, results: Any, batch_bytes_max: int) -> None:
        self._batch_bytes_max = batch_bytes_max
        super().__init__(results)

    def __setitem__(self, tp: Any, result: Any) -> None:
        if isinstance(result, FetchResult) and result.has_more():
            records = result._partition_records
            records._records.keep_whole(records.next_fetch_offset, self._batch_bytes_max)
            records._consumer_record = _as_stretch
        super().__setitem__(tp, result)


def _as_stretch(tp: Any, batch: Batch) -> Stretch:
    return batch.stretch()


def keep_batches() -> None:
    """Let every consumer of this process fetch through `Batches`. Only those with `WholeBatches` notice."""
    fetcher.MemoryRecords = Batches
