"""How a service reads what was billed: every statement once and in order, from where it stopped.

    async with BillsReader(settings.kafka, position=saved) as bills:       # {} the first time
        async for stated in bills:
            ...                                                            # keep it, and `bills.position` with it

Whoever keeps `position` in the transaction that keeps the bill counts each bill once, whatever kills the reader.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamapp.errors import Denied, Misconfigured, Refused, StreamError
from streamapp.kafka.bills.event import BILLS, Stated, Unreadable
from streamapp.kafka.bills.pending import Pending, begin_at
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import DAMAGED, damaged, raw_consumer, spans, translated
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

    `follow=False`: ends where the topic ended when reading began; for `position` only. `silent_s`: a group member
    that is silent for so many seconds is replaced. One event loop, one reader.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        position: Mapping[int, int] | None = None,
        group: str = "",
        follow: bool = True,
        topic: str = BILLS,
        silent_s: float = 10,
    ) -> None:
        if group and (position is not None or not follow):
            raise Refused("a group's position is Kafka's: give a position, or a group that follows the topic")
        self._kafka, self._config, self._topic = kafka, confluent_config(kafka), topic
        self._group, self._follow, self._silent_ms = group, follow, int(silent_s * 1000)
        self._pending = Pending(position or {})
        self._heard = Heard()
        self._consumer: Consumer | None = None
        self._busy = threading.Lock()  # of the consumer

    @property
    def position(self) -> dict[int, int]:
        """Partition → where to begin next time: behind the last event that was given out, and at the end of what is
        committed also behind the marker of its transaction."""
        return dict(self._pending.next)

    async def __aenter__(self) -> Self:
        """Raises `Unavailable`, `Misconfigured`, `Denied`, and `Refused` where Kafka has deleted what was not read."""
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    async def __aiter__(self) -> AsyncIterator[Stated]:
        """Every event. Raises as at the beginning, and `Unreadable`. May be left and begun again; an error is raised
        again then."""
        assert self._consumer is not None, "use `async with`"
        pending = self._pending
        while self._follow or pending.left or pending:
            while pending:
                stated = pending.take(self._trouble)
                if stated is not None:
                    yield stated
            if self._follow or pending.left:
                await asyncio.to_thread(self._poll)

    async def commit(self) -> None:
        """Move the group behind everything that was given out. Returns when Kafka has it."""
        assert self._group, "without a group whoever reads keeps the position"
        assert self._consumer is not None
        behind = [TopicPartition(self._topic, partition, offset) for partition, offset in self._pending.next.items()]
        if behind:
            with_answer = {"offsets": behind, "asynchronous": False}
            await asyncio.to_thread(lambda: self._asked(self._consumer.commit, **with_answer))  # type: ignore[union-attr]

    def _open(self) -> None:
        demand_agreement(self._kafka)
        there = spans(self._config, self._topic)
        if self._group:
            self._consumer = raw_consumer(
                self._config,
                self._heard,
                group_id=self._group,
                auto_offset_reset="error",
                session_timeout_ms=self._silent_ms,
                heartbeat_interval_ms=self._silent_ms // 3,
            )
            self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
            return
        kept = self._pending.next
        self._pending.begin({number: begin_at(self._topic, number, span, kept) for number, span in there.items()})
        begun = self._pending.next
        self._pending.left = {number: span.end for number, span in there.items() if begun[number] < span.end}
        self._consumer = raw_consumer(self._config, self._heard, auto_offset_reset="error")
        self._consumer.assign([TopicPartition(self._topic, *place) for place in begun.items()])

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        kept = {one.partition: one.offset for one in consumer.committed(parts, timeout=30) if one.offset >= 0}
        there = spans(self._config, self._topic)
        numbers = [one.partition for one in parts]
        self._pending.begin({number: begin_at(self._topic, number, there[number], kept) for number in numbers})
        consumer.assign([TopicPartition(self._topic, *place) for place in self._pending.next.items()])

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._pending.drop({one.partition for one in parts})
        consumer.unassign()

    def _poll(self) -> None:
        """In a thread that goes on when whoever waits is cancelled: so it keeps what it gets, and `_close` waits for
        it."""
        with self._busy:
            if self._consumer is not None:
                consume = self._consumer.consume
                self._pending.poll(lambda: self._asked(consume, BATCH_RECORDS, timeout=POLL_S))

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

    def _trouble(self, error: KafkaError, partition: int, offset: int | None) -> None:
        """Raise for an error that stands among the messages."""
        if error.code() in DAMAGED and offset is not None:
            raise self._unreadable(error, partition, offset)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Refused(f"{self._topic} partition {partition}: what comes next was deleted unread; open a new reader")
        if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED or self._group:  # looks for a coordinator
            raise self._translated(error)

    def _unreadable(self, error: KafkaError, partition: int, offset: int) -> Unreadable:
        why = f"the batch cannot be read: {error.str()}"
        try:
            batch = damaged(self._config, self._topic, partition, offset, error).batch
        except Misconfigured as lacking:
            return Unreadable(partition, offset, f"{why}. Where it ends is not known here: {lacking}", None)
        return Unreadable(partition, offset, why, batch.last + 1)

    def _translated(self, error: KafkaError) -> StreamError:
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return Denied(lacks(self._config.get("sasl.username"), Right("READ", "group", self._group)))
        return translated(self._heard.behind(error), self._topic, self._config)
