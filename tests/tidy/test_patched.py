"""Where we reach into aiokafka (docs/adr/0008): each place is still what it was: an upgrade that moves it fails."""

from __future__ import annotations

import importlib
import inspect
import re
from importlib.metadata import version

import cramjam
from aiokafka import AIOKafkaConsumer, codec, errors
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.record import default_records

from streamapp.exact.faust.batches import Batch
from streamapp.kafka.log.lz4 import LEVEL, lz4_encode, use_fast_lz4

LZ4 = 3  # in the attributes of a record batch
RECORDS = b'{"team_id":"team_abc123","cost":"0.003800000000"}' * 2_000


def test_aiokafka_is_the_version_whose_inside_is_known() -> None:
    assert version("aiokafka").startswith("0.14.")


def test_producers_compress_with_our_lz4() -> None:
    use_fast_lz4()
    builder = default_records.DefaultRecordBatchBuilder
    module = importlib.import_module(builder.__module__)
    assert module.lz4_encode is lz4_encode
    written = {}
    for codec_type in (0, LZ4):
        batch = builder(2, codec_type, 0, -1, -1, -1, 1 << 20)
        batch.append(0, 0, b"key", RECORDS, [])
        written[codec_type] = bytes(batch.build())
    assert len(written[LZ4]) < len(written[0]) / 2
    (record,) = default_records.DefaultRecordBatch(bytearray(written[LZ4]))
    assert record.value == RECORDS


def test_our_lz4_frame_is_one_that_anybody_reads() -> None:
    frame = lz4_encode(RECORDS)
    assert bytes(cramjam.lz4.decompress(frame)) == RECORDS
    assert bytes(codec.lz4_decode(frame)) == RECORDS
    assert "level: int = 9" in str(inspect.signature(codec.lz4_encode)).replace("'", ""), "is ours still needed?"
    assert LEVEL < 9


def test_records_are_handed_out_where_whole_batches_take_hold() -> None:
    assert "self._records = collections.OrderedDict()" in inspect.getsource(Fetcher.__init__)
    assert "records = MemoryRecords(part_data[-1])" in inspect.getsource(Fetcher._proc_fetch_request)
    unpack = inspect.getsource(PartitionRecords._unpack_records)
    assert "next_batch = records.next_batch()" in unpack
    assert "self._consumer_record(tp, record)" in unpack
    asked = set(re.findall(r"next_batch\.(\w+)", unpack)) - {"is_control_batch"}
    answered = {*dir(Batch), *re.findall(r"self\.(\w+) = ", inspect.getsource(Batch.__init__))}
    assert asked <= answered, "a batch is asked for more"
    assert "self._partition_records" in inspect.getsource(FetchResult.__init__)


def test_the_group_routine_can_be_watched() -> None:
    source = inspect.getsource(GroupCoordinator)
    assert "self._coordination_task = create_task(self._coordination_routine())" in source
    assert "self._pending_exception = " in source


def test_the_end_of_a_partition_can_be_asked_for() -> None:
    source = inspect.getsource(TopicPartitionState)
    for name in ("self.lso = None", "self.highwater = None", "def has_valid_position", "def position"):
        assert name in source


def test_a_static_member_can_be_told_of_a_namesake() -> None:
    source = inspect.getsource(GroupCoordinator)
    assert "HeartbeatRequest(self.group_id, self.generation, self.member_id)" in source, "is ours still needed?"
    assert "resp = await self._send_req(request)" in source
    rebalance = inspect.getsource(CoordinatorGroupRebalance)
    assert rebalance.count("self._coordinator._send_req(request)") == 2
    assert 82 not in errors.kafka_errors, "is ours still needed?"


def test_fetches_can_be_ended_before_a_consumer_stops() -> None:
    close = inspect.getsource(Fetcher.close)
    assert "for x in self._pending_tasks:" in close, "is ours still needed?"
    assert "await x" in close
    assert "self._fetch_task = create_task(self._fetch_requests_routine())" in inspect.getsource(Fetcher.__init__)
    failed = inspect.getsource(Fetcher._proc_fetch_request).partition("except Errors.KafkaError as err:")[2]
    assert "await asyncio.sleep(self._retry_backoff)" in failed.partition("except asyncio.CancelledError:")[0]


def test_a_consumer_can_leave_in_its_own_words() -> None:
    source = inspect.getsource(GroupCoordinator)
    assert "if self.generation > 0 and self._group_instance_id is None" in source, "is ours still needed?"
    assert "def coordinator_id" in source or "self.coordinator_id = " in source
    stop = inspect.getsource(AIOKafkaConsumer.stop)
    assert stop.index("self._coordinator.close()") < stop.index("self._client.close()")
