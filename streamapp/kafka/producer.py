"""How a service sends events: validated, exact, acknowledged by every in-sync replica, and none lost silently.

    async with UsageProducer(settings.kafka, source="llm-gateway") as usage:
        receipt = await usage.send(team_id="team_abc123", org_id="org_hanzo", data={..., "cost_usd": Decimal("0.0038")})
        future = await usage.enqueue(team_id=..., data={...})  # acknowledged later; waits only while the buffer is full

librdkafka sends and retries in its own threads; one thread of ours hands its answers to the event loop, many at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.clock import Clock, wall_ms
from streamapp.errors import Refused
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.clients.login import connected
from streamapp.kafka.produce.outgoing import (
    Event,
    EventRefused,
    NotAcknowledged,
    NotWritable,
    Pending,
    Receipt,
    joined,
    prepare,
    unsent,
)
from streamapp.kafka.produce.raw_producer import CLOSE_SLACK_S, RawProducer, Serving, producer_config
from streamapp.kafka.produce.refusal import LETTER_BYTES_MAX, not_taken, refusal
from streamapp.kafka.trouble import Heard, to_mend
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.llm_usage import LLM_USAGE
from streamapp.schemas.rpc_metering import RPC_METERED
from streamapp.schemas.values.ulid import RANDOM_BYTES, event_id
from streamapp.settings import KafkaSettings
from streamapp.topics import registry

__all__ = ["AuditProducer", "Event", "EventProducer", "EventRefused", "MeteringProducer", "NotAcknowledged"]
__all__ += ["NotWritable", "RawProducer", "Receipt", "UsageProducer"]

POLL_S = 0.1  # how soon the thread sees that it should end; answers wake it at once

log = logging.getLogger(__name__)


class EventProducer:
    """Events for one topic of the registry, from one event loop.

    `send` returns when every in-sync replica has the event; `enqueue` returns a future of that. Both raise
    `EventRefused` for an event that consumers would refuse, when every in-sync replica has its dead letter; `prepared`
    gives the same verdict as a value, and writes none. After the delivery timeout an event is an error,
    `NotAcknowledged`: `send` and the future raise it; whatever was enqueued, or whose `send` was cancelled, and is not
    acknowledged at the end (a later success under the same id counts) is raised by `close`, which waits for all that is
    under way. When the topic does not exist (a new one may take five seconds) or may not be written to, the error is
    `NotWritable`, at once. At most `buffer_events` are under way; then both wait. `schema_ids`: event type → GUID of
    its schema in the registry, which a header of its records then names (decision 30).
    """

    TOPIC = TYPE = ""  # of a producer that is declared for one topic, or one event type

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        source: str,
        topic: str = "",
        schema_ids: Mapping[str, UUID] = {},  # never changed
        buffer_events: int = 10_000,
        clock: Clock = wall_ms,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._topic, self._schema_ids = registry.topic(topic or self.TOPIC), schema_ids
        self._source, self._clock, self._entropy = source, clock, entropy
        self._kafka, self._buffer_events = kafka, buffer_events
        self._close_timeout_s = kafka.delivery_timeout_seconds + CLOSE_SLACK_S
        config = {**producer_config(kafka, buffer_events + 1), "message.max.bytes": LETTER_BYTES_MAX}
        self._heard = Heard()
        self._producer = connected(Producer, config, self._heard)
        self._serving = Serving(self._producer)
        self._pending: set[Pending] = set()
        self._failed: dict[str, NotAcknowledged | NotWritable] = {}  # by the event's id
        self._answers: deque[tuple[Pending, KafkaError | None, int, int]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def unacknowledged(self) -> int:
        """Events under way."""
        return len(self._pending)

    async def __aenter__(self) -> Self:
        """Raises `Misconfigured` when brokers answer that do not speak as the settings say."""
        await asyncio.to_thread(demand_agreement, self._kafka)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except (NotAcknowledged, NotWritable) as failure:
            if error is None:
                raise
            log.error("%s", failure)
            error.add_note(str(failure))  # neither of the two may hide the other

    def prepared(
        self,
        *,
        type: str = "",
        data: Mapping[str, Any],
        team_id: str | None = None,
        org_id: str | None = None,
        id: str | None = None,
        at_ms: int | None = None,
        traceparent: str | None = None,
    ) -> Event | Rejected:
        """A new logical event, or why it is refused. The id is made here, once: `evt_` and a ULID.

        `at_ms` is the moment of the event in UTC milliseconds, now by default; `traceparent` goes with its record.
        """
        now_ms = self._clock()
        return prepare(
            self._topic,
            event_id=event_id(now_ms, self._entropy(RANDOM_BYTES)) if id is None else id,
            event_type=type or self.TYPE,
            source=self._source,
            at_ms=now_ms if at_ms is None else at_ms,
            data=data,
            team_id=team_id,
            org_id=org_id,
            traceparent=traceparent,
            schema_id=self._schema_ids.get(type or self.TYPE),
        )

    async def send(self, event: Event | None = None, /, **facts: Any) -> Receipt:
        """Send a prepared event, or one of these facts (as for `prepared`), and wait for the acknowledgement.

        Raises `EventRefused`, `NotWritable`, or `NotAcknowledged` after the delivery timeout.
        """
        pending = await self._begin(await self._event(event, facts), awaited=True)
        return await pending.future

    async def enqueue(self, event: Event | None = None, /, **facts: Any) -> asyncio.Future[Receipt]:
        """The same without waiting for the acknowledgement; waits while the buffer is full.

        The future may be dropped: `close` reports what failed. Raises `EventRefused`, `NotWritable`; as `close` with
        earlier events when as many failed as the buffer holds.
        """
        if len(self._failed) >= self._buffer_events:
            raise self._taken_failures()
        pending = await self._begin(await self._event(event, facts), awaited=False)
        return pending.future

    async def close(self) -> None:
        """Wait for everything under way, at most the delivery timeout, and end. Closing again does nothing.

        Raises `NotAcknowledged`, or `NotWritable` for one of them, with every event that is not known to be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(self._close_timeout_s):
                while self._pending:
                    await self._changed()
        except TimeoutError:
            for pending in tuple(self._pending):
                self._settle(pending, KafkaError(KafkaError._TIMED_OUT), -1, -1)
        finally:
            self._ended.set()
            if self._thread is not None:
                await asyncio.to_thread(self._thread.join)
        if self._failed:
            raise self._taken_failures()

    async def _event(self, event: Event | None, facts: dict[str, Any]) -> Event:
        made = self.prepared(**facts) if event is None else event
        if isinstance(made, Rejected):
            now_ms, new, random = self._clock(), self._entropy(RANDOM_BYTES), self._entropy(RANDOM_BYTES)
            facts = {"type": self.TYPE, **facts}
            letter = refusal(self._topic, self._source, made, facts, event_id(now_ms, new), now_ms, random)
            await (await self._begin(letter, awaited=True)).future
            raise EventRefused(made)
        assert made.topic == self._topic.name, made.topic
        return made

    async def _begin(self, event: Event, awaited: bool) -> Pending:
        if self._closed:
            raise Refused(f"the producer is closed; {event.id} was not sent")
        self._start()
        assert self._loop is not None
        while True:
            while len(self._pending) >= self._buffer_events:
                await self._changed()
            pending = Pending(event, self._loop.create_future(), awaited)
            try:
                told, headers = self._answer(pending), list(event.headers)
                self._producer.produce(event.topic, event.value, event.key, on_delivery=told, headers=headers)
            except BufferError:
                await self._changed()  # few large events fill the buffer, too
            except KafkaException as exception:
                raise not_taken(event, self._serving.why(exception.args[0]), self._kafka.sasl_username) from None
            else:
                self._pending.add(pending)
                return pending

    def _start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._hand_over, name="kafka-acks", daemon=True)
            self._thread.start()

    async def _changed(self) -> None:
        """Wait until some event under way is settled."""
        assert self._loop is not None
        self._waiters.append(self._loop.create_future())
        await self._waiters[-1]

    def _hand_over(self) -> None:  # a thread
        assert self._loop is not None
        while not self._ended.is_set():
            self._serving.poll(POLL_S)
            if self._answers or self._serving.fatal is not None:
                try:
                    self._loop.call_soon_threadsafe(self._settle_answers)
                except RuntimeError:
                    return  # the loop is gone, and with it whoever could be told

    def _answer(self, pending: Pending) -> Callable[[KafkaError | None, Message], None]:
        def answer(error: KafkaError | None, message: Message) -> None:
            self._answers.append((pending, error, message.partition() or 0, message.offset() or 0))

        return answer

    def _settle_answers(self) -> None:  # in the event loop again
        while self._answers:
            self._settle(*self._answers.popleft())
        if self._serving.fatal is not None:
            for pending in tuple(self._pending):
                self._settle(pending, self._serving.fatal, -1, -1)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _settle(self, pending: Pending, error: KafkaError | None, partition: int, offset: int) -> None:
        if pending not in self._pending:
            return  # a client that can send no more has failed it before
        self._pending.discard(pending)
        event, future = pending.event, pending.future
        if error is None:
            self._failed.pop(event.id, None)
            if not future.done():
                future.set_result(Receipt(event.id, event.topic, partition, offset))
            return
        error = self._serving.fatal or self._heard.behind(error)
        reason = f"{error.str()}; {self._heard.words}" if self._heard.words else error.str()
        failure = unsent((event,), to_mend(error, event.topic, self._kafka.sasl_username), reason)
        if future.done() or not pending.awaited:
            self._failed[event.id] = failure
        if not future.done():
            future.set_exception(failure)
            future.exception()  # `close` reports it when nobody looks

    def _taken_failures(self) -> NotAcknowledged | NotWritable:
        failed, self._failed = tuple(self._failed.values()), {}
        return joined(failed, self._heard.words or "the delivery timeout passed")


class UsageProducer(EventProducer):
    """What an LLM gateway reports of every call: `data` as in the standard, `cost_usd` a Decimal, an int or text."""

    TOPIC, TYPE = "llm_usage", LLM_USAGE


class MeteringProducer(EventProducer):
    """What a bot gateway reports of every call: `data` as in decision 15, `price` a Decimal, an int or text."""

    TOPIC, TYPE = "agent_rpc_metering", RPC_METERED


class AuditProducer(EventProducer):
    """What somebody did: each call names its type `<service>.<entity>.<action>` and `org_id`, the record key."""

    TOPIC = "audit_log"
