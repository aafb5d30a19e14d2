"""How a service reads what was billed: every statement once and in order, from where it stopped.

    async with BillsReader(settings.kafka, position=saved) as bills:       # {} the first time
        async for stated in bills:
            ...                                                            # keep it, and `bills.position` with it

Whoever keeps `position` in the transaction that keeps the bill counts each bill once, whatever kills the reader.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.errors import Denied, Misconfigured, Refused, StreamError
from streamapp.kafka.bills.event import BILLS, Stated, Unreadable, event_of
from streamapp.kafka.handshake import demand_agreement
from streamapp.kafka.log.reader import DAMAGED, Span, raw_consumer, spans, translated
from streamapp.kafka.security import confluent_config
from streamapp.kafka.trouble import Heard, Right, lacks
from streamapp.settings import KafkaSettings

BATCH_RECORDS = 500
POLL_S = 0.2


class BillsReader:
    """The events of `billing_events` in the order of each partition, committed ones only.

    `position` is partition → the offset to begin at; a partition that is not in it is read from its start. Or `group`
    names a consumer group, whose members share the partitions: then Kafka keeps the position, `commit` moves it, and
    after a crash what came since is given out again (`event.is_next` tells). With Kafka's rights on, a group has the
    name of its principal: `commerce`, `reporting`.

    `follow=False`: ends where the topic ended when reading began; for `position` only. One event loop, one reader.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        position: Mapping[int, int] | None = None,
        group: str = "",
        follow: bool = True,
        topic: str = BILLS,
    ) -> None:
        if group and (position is not None or not follow):
            raise Refused("a group's position is Kafka's: give a position, or a group that follows the topic")
        self._kafka, self._config, self._topic = kafka, confluent_config(kafka), topic
        self._group, self._follow = group, follow
        self._next: dict[int, int] = dict(position or {})
        self._left: dict[int, int] = {}  # partition with something to give out → where it ended as reading began
        self._messages: deque[Message] = deque()
        self._heard = Heard()
        self._consumer: Consumer | None = None
        self._busy = threading.Lock()  # of the consumer

    @property
    def position(self) -> dict[int, int]:
        """Partition → the offset behind the last event that was given out: where to begin next time."""
        return dict(self._next)

    async def __aenter__(self) -> Self:
        """Raises `Unavailable`, `Misconfigured`, `Denied`, and `Refused` where Kafka has deleted what was not read."""
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    async def __aiter__(self) -> AsyncIterator[Stated]:
        """Every event. Raises as at the beginning, and `Unreadable`. May be left and begun again."""
        assert self._consumer is not None, "use `async with`"
        while self._follow or self._left or self._messages:
            while self._messages:
                stated = self._taken(self._messages.popleft())
                if stated is not None:
                    yield stated
            if self._follow or self._left:
                await asyncio.to_thread(self._poll)

    async def commit(self) -> None:
        """Move the group behind everything that was given out. Returns when Kafka has it."""
        assert self._group, "without a group whoever reads keeps the position"
        assert self._consumer is not None
        behind = [TopicPartition(self._topic, partition, offset) for partition, offset in self._next.items()]
        if behind:
            with_answer = {"offsets": behind, "asynchronous": False}
            await asyncio.to_thread(lambda: self._asked(self._consumer.commit, **with_answer))  # type: ignore[union-attr]

    def _open(self) -> None:
        demand_agreement(self._kafka)
        there = spans(self._config, self._topic)
        if self._group:
            self._consumer = raw_consumer(self._config, self._heard, group_id=self._group, auto_offset_reset="error")
            self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
            return
        self._next = {partition: self._begin(partition, span, self._next) for partition, span in there.items()}
        self._left = {number: span.end for number, span in there.items() if self._next[number] < span.end}
        self._consumer = raw_consumer(self._config, self._heard, auto_offset_reset="error")
        self._consumer.assign([TopicPartition(self._topic, *place) for place in self._next.items()])

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        kept = {one.partition: one.offset for one in consumer.committed(parts, timeout=30) if one.offset >= 0}
        there = spans(self._config, self._topic)
        self._next = {one.partition: self._begin(one.partition, there[one.partition], kept) for one in parts}
        consumer.assign([TopicPartition(self._topic, *place) for place in self._next.items()])

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        gone = {one.partition for one in parts}
        self._next = {partition: offset for partition, offset in self._next.items() if partition not in gone}
        self._messages = deque(one for one in self._messages if one.partition() not in gone)
        consumer.unassign()

    def _begin(self, partition: int, span: Span, kept: Mapping[int, int]) -> int:
        """Where to begin; at the start of the log where nothing was read before."""
        offset = kept.get(partition, span.start)
        if offset < span.start:
            raise Refused(
                f"{self._topic} partition {partition} begins at offset {span.start} now, and was read up to {offset}: "
                f"{span.start - offset:,} offsets were deleted unread. Take those bills from the ledger (`streamapp "
                f"bills`), then begin at {span.start}"
            )
        if offset > span.end:
            raise Misconfigured(
                f"{self._topic} partition {partition} ends at offset {span.end}, and was read up to {offset}: the "
                "topic was made anew. Begin without a position, and count no bill twice"
            )
        return offset

    def _poll(self) -> None:
        """In a thread that goes on when whoever waits is cancelled: so it keeps what it gets, and `_close` waits for
        it."""
        with self._busy:
            if self._consumer is not None:
                self._messages.extend(self._asked(self._consumer.consume, BATCH_RECORDS, timeout=POLL_S))

    def _close(self) -> None:
        with self._busy:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                consumer.close()

    def _asked(self, call: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except KafkaException as exception:
            raise self._translated(exception.args[0]) from None

    def _taken(self, message: Message) -> Stated | None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        assert partition is not None
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._left.pop(partition, None)  # the last offsets may be markers, which nobody is given
            elif error.code() in DAMAGED and offset is not None:
                raise Unreadable(partition, offset, f"the batch cannot be read: {error.str()}")
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise Refused(
                    f"{self._topic} partition {partition}: what comes next was deleted unread; open a new reader"
                )
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED or self._group:  # looks for a coordinator
                raise self._translated(error)
            return None
        assert offset is not None
        event = event_of(partition, offset, message.value())
        self._next[partition] = offset + 1
        if offset + 1 >= self._left.get(partition, offset + 2):
            del self._left[partition]
        return None if event is None else Stated(partition, offset, event)

    def _translated(self, error: KafkaError) -> StreamError:
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return Denied(lacks(self._config.get("sasl.username"), Right("READ", "group", self._group)))
        return translated(self._heard.behind(error), self._topic, self._config)
