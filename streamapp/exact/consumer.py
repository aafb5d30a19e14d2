"""Faust's consumer, handing out chunks instead of events.

Stock Faust spends 80 µs on an event that nobody does anything with; here a fetch becomes one message per partition,
and everything that is done per message is done once per chunk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiokafka
import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage

from streamapp.clock import monotonic_s
from streamapp.exact.faust.batches import WholeBatches, keep_batches
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.faust.leave import LeavingConsumer
from streamapp.exact.ownership import Ownership
from streamapp.exact.partition.chunk import Chunk
from streamapp.kafka.clients.aio import aiokafka_config, denied
from streamapp.lane.records import Records, Stretch

log = logging.getLogger(__name__)

POLL_S = 0.5  # how long a fetch waits when nothing arrives; ticks are looked at as often
FETCH_MIN_BYTES = 64 * 1024  # less is worth waiting for: every chunk is a transaction, and costs Kafka the same
WAITED_BYTES = FETCH_MIN_BYTES // 2  # records of an answer that Kafka kept for the whole wait, without batches' heads
CATCH_UP_S = 1.0  # how long a chunk waits to be full while more is known to come: a transaction costs the same for few


class ChunkSchema(faust.Schema):
    """Passes a chunk through: records are decoded by the group's own fold."""

    def compile(self, app: Any, **options: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(message.key, message.value, message.headers, message)

        return decode


class ChunkConsumerThread(AIOKafkaConsumerThread):
    """The thread that fetches, with our client settings and Faust's assignor."""

    async def _fetch_records(self, consumer: Any, *args: Any, **options: Any) -> Any:
        fetcher = consumer._fetcher
        if not isinstance(fetcher._records, WholeBatches):
            fetcher._records = WholeBatches(fetcher._records, self.app.settings.worker.batch_bytes_max)
        return await super()._fetch_records(consumer, *args, **options)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        keep_batches()
        # Faust's router knows who owns a key only through Faust's own assignor, which it uses only when it restores
        # tables itself; ours are restored by us, so it is chosen here.
        self._assignor = self.app.assignor
        consumer = LeavingConsumer(
            **aiokafka_config(self.app.settings.kafka),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=None,  # all that a fetch brought: max_partition_fetch_bytes bounds it
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=self.app.settings.worker.fetch_wait_ms,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
        )
        consumer.leave_on_stop = self.app.settings.worker.leave_on_stop
        return consumer

    def topic_partitions(self, topic: str) -> int | None:
        """None also while aiokafka's consumer connects: the web server is asked before it has a coordinator."""
        consumer = self._consumer
        return None if consumer is None or consumer._coordinator is None else super().topic_partitions(topic)

    def fetched_to_end(self, tp: TP) -> tuple[bool, int]:
        """Whether everything readable was handed out, by the newest fetch; and the end it told."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription and subscription.assignment
        if not assignment or not assignment.active or tp not in assignment.tps:
            return False, 0
        state = assignment.state_value(tp)
        end = state.lso if state.lso is not None else state.highwater
        if end is None or not state.has_valid_position:
            return False, 0
        return state.position >= end, end


class ChunkConsumer(Consumer):
    """Hands out chunks of the partitions that `app.ownership` has taken over.

    Promises: the records of a partition arrive in order, each once per takeover, with no gap but Kafka's own.
    """

    _thread: ChunkConsumerThread

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return True  # the chunk's transaction did it

    async def perform_seek(self) -> None:
        """Go to where each partition's owner wants to begin. Faust goes to the committed offsets, and aiokafka (0.14)
        stays where it is when that is 0."""
        await super().perform_seek()
        for number, partition in self.app.ownership.partitions.items():
            if partition.fetch_next is not None:
                await self._seek(TP(self.app.ownership.topic, number), partition.fetch_next)

    def verify_event_path(self, now: float, tp: TP) -> None:
        pass  # Faust's detector of stuck streams counts events; the pages show lag and last commit

    def on_buffer_full(self, tp: TP) -> None:
        pass  # handing a chunk over waits until there is room, which holds the fetches back

    def on_buffer_drop(self, tp: TP) -> None:
        pass

    async def _drain_messages(self, fetcher: Any) -> None:
        worker = self.app.settings.worker
        gathering = Gathering(
            worker.chunk_records, worker.chunk_linger_ms / 1000, lambda tp: self._thread.fetched_to_end(tp)[0]
        )
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._drain_once(gathering)
        except asyncio.CancelledError:
            # Faust takes a fetcher that is told to stop during a rebalance for one that crashed, and ends with 1.
            if not fetcher.should_stop:
                raise
        except Exception as error:
            if self.app.should_stop:
                return
            failstop(denied(error, self.app.settings.kafka.sasl_username, "READ"), "fetching")

    async def _drain_once(self, gathering: Gathering) -> None:
        ownership: Ownership = self.app.ownership
        fetched, _ = await self._wait_next_records(gathering.patience_s(monotonic_s(), POLL_S))
        if not self.flow_active:
            gathering.clear()  # a rebalance: whoever owns the partitions afterwards fetches these again
            return
        gathered = self._gathered_by_kafka(fetched or {})
        for tp, stretches in (fetched or {}).items():
            partition = ownership.partitions.get(tp.partition)
            if partition is None or partition.released:
                continue
            records = self._continued(tp, stretches, partition)
            if records:
                gathering.add(tp, partition, records, monotonic_s(), gathered)
        for tp, partition, records in gathering.ready(monotonic_s()):
            await self._hand_over(tp, partition.chunk(records))
        for number, partition in list(ownership.partitions.items()):
            tp = TP(ownership.topic, number)
            at_end, end = self._thread.fetched_to_end(tp)
            partition.reached(end, at_end and not gathering.has(tp))
            if partition.at_end and partition.tick_due():
                partition.tick_queued = True
                await self._hand_over(tp, partition.chunk(Records()))

    def _gathered_by_kafka(self, fetched: Mapping[TP, list[Stretch]]) -> bool:
        """Whether Kafka kept these records for longer than a chunk would wait: then nothing is gained by more."""
        worker = self.app.settings.worker
        size = sum(len(stretch.payload.data) for stretches in fetched.values() for stretch in stretches)
        return worker.fetch_wait_ms >= worker.chunk_linger_ms and size < WAITED_BYTES

    def _continued(self, tp: TP, stretches: list[Stretch], partition: Any) -> Records:
        """The records that follow what arrived before. A gap is fetched again once: if Kafka shows it again, it is
        Kafka's (a control record, a deleted range) and not a lost fetch."""
        records, expected = Records(stretches), partition.fetch_next
        if expected is not None:
            records = records.since(expected)
        if not records:
            return records
        sound = records.before_lost(partition.lost_seen)
        if len(sound) < len(records):  # damaged on its way, perhaps: it is fetched again once, then it is a dead letter
            lost = records[len(sound) :].first_offset
            partition.lost_seen = lost
            self._thread.seek(tp, lost)
            records = sound
            if not records:
                partition.fetch_next = lost
                return records
        first = records.first_offset
        if expected not in (None, first) and partition.gap_seen != (expected, first):
            partition.gap_seen = (expected, first)
            self._thread.seek(tp, expected)
            return Records()
        partition.fetch_next = records.last_offset + 1
        return records

    async def _hand_over(self, tp: TP, chunk: Chunk) -> None:
        message = ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=chunk.records[-1].offset if chunk.records else chunk.high_water,
            timestamp=0.0,
            timestamp_type=0,
            headers=(),
            key=None,
            value=chunk,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        await self.wait_first(self.callback(message), self.suspend_flow.wait())


class Gathering:
    """Records on their way into chunks: up to `limit` of a partition, or what came within `linger_s`, while nothing
    more is there to read. What Kafka gathered goes at once."""

    def __init__(self, limit: int, linger_s: float, at_end: Callable[[TP], bool]) -> None:
        self._limit = limit
        self._linger_s = linger_s
        self._at_end = at_end
        self._waiting: dict[TP, tuple[float, Any, Records]] = {}

    def add(self, tp: TP, partition: Any, records: Records, now_s: float, gathered: bool = False) -> None:
        """Records that follow those added before. `gathered`: Kafka has waited for more of them already."""
        since_s = now_s - self._linger_s if gathered else now_s
        held = self._waiting.get(tp)
        if held is None or held[1] is not partition:
            self._waiting[tp] = (since_s, partition, records[:])
        else:
            held[2].extend(records)
            self._waiting[tp] = (min(held[0], since_s), partition, held[2])

    def has(self, tp: TP) -> bool:
        return tp in self._waiting

    def clear(self) -> None:
        self._waiting.clear()

    def patience_s(self, now_s: float, at_most_s: float) -> float:
        """How long a fetch may wait before something must be handed over."""
        first = min((self._due_s(tp, since_s) for tp, (since_s, _, _) in self._waiting.items()), default=None)
        return at_most_s if first is None else min(at_most_s, max(0.0, first - now_s))

    def ready(self, now_s: float) -> list[tuple[TP, Any, Records]]:
        """Chunks to hand over now, removed from here. What is over a full chunk stays until its own time."""
        ready: list[tuple[TP, Any, Records]] = []
        for tp, (since_s, partition, records) in list(self._waiting.items()):
            due = now_s >= self._due_s(tp, since_s)
            cut = len(records) if due else len(records) - len(records) % self._limit
            ready += [(tp, partition, records[at : min(cut, at + self._limit)]) for at in range(0, cut, self._limit)]
            if cut == len(records):
                del self._waiting[tp]
            elif cut:
                self._waiting[tp] = (now_s, partition, records[cut:])
        return ready

    def _due_s(self, tp: TP, since_s: float) -> float:
        return since_s + (self._linger_s if self._at_end(tp) else max(self._linger_s, CATCH_UP_S))


class ChunkTransport(Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer
