"""Records from one event loop: many requests at a time, each told when the last of its own records is acknowledged.

librdkafka sends in threads of its own. Its answers are fetched in the event loop itself, every millisecond while any
are due: a thread that waits for them would fight the loop for the interpreter, once for every record.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.errors import Misconfigured
from streamapp.kafka.acls import write_denied
from streamapp.kafka.clients.login import connected
from streamapp.kafka.produce.raw_producer import CLOSE_SLACK_S, Serving, producer_config
from streamapp.kafka.trouble import MISSING, NO_HOME, NO_RIGHT, Heard, to_mend
from streamapp.settings import KafkaSettings

ANY_PARTITION = -1  # murmur2 of the key decides
POLL_S = 0.001  # a fifth of the linger
RECORD_BYTES = 100  # what a record costs besides its bytes
MESSAGE_BYTES_MAX = 4 << 20  # as dead_letter takes them; its dead letters carry a record in base64
BATCH_RECORDS = 500  # the standard's Insights Capture Integration
BATCH_BYTES = 1_000_000  # 500 events of the 2 kB that the standard calls average
ANSWER_TIMEOUT_S = 2.0
MISSING_LOOKS = 3  # one broker may not have heard of a topic that the others know
LOOK_AGAIN_S = 0.2

log = logging.getLogger(__name__)


class Group(NamedTuple):
    """Records of one topic and key, to be written in this order."""

    topic: str
    key: bytes
    values: Sequence[bytes]
    headers: tuple[tuple[str, bytes | None], ...] = ()  # of each record


class _Flight:
    """The records of one request."""

    __slots__ = ("count", "error", "future", "left", "size", "topic")

    def __init__(self, future: asyncio.Future[str | None], count: int, size: int, topic: str) -> None:
        self.future, self.count, self.left, self.size, self.topic = future, count, count, size, topic
        self.error: str | None = None


def extent(groups: Sequence[Group]) -> tuple[int, int]:
    """How many records, and how many bytes of the buffer they take."""
    count = size = 0
    for _, _, values, _ in groups:
        count += len(values)
        size += sum(map(len, values))
    return count, size + count * RECORD_BYTES


class LoopProducer:
    """Sends groups of records with the standard's producer settings, and bounds what is under way.

    The groups of a request are taken or refused as a whole: when there is no room, nothing was taken. `broken` says
    why it can never send again, once that is so (librdkafka lost count of what it wrote): end the process. `to_mend`
    is the right that it lacks, or why Kafka does not let it in, once that has happened. `missing` are topics that do
    not exist, as far as is known: a record for them failed, or `answers` found it; `answers` also finds that they are
    there again.
    """

    def __init__(self, kafka: KafkaSettings, *, bytes_max: int, records_max: int) -> None:
        self.bytes_max, self.records_max = bytes_max, records_max
        self.bytes = self.records = 0
        self.acknowledged = self.failed = 0
        self._flights: set[_Flight] = set()
        self.broken = ""
        self.to_mend: Misconfigured | None = None
        self.missing: frozenset[str] = frozenset()
        self._kafka = kafka
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered_s = 0.0
        self._drained: asyncio.Future[None] | None = None
        config = {
            **producer_config(kafka, records_max + 1),
            # What is under way is counted here; librdkafka's own limit is out of the way, so that no group is cut.
            "queue.buffering.max.kbytes": max(1024, 2 * bytes_max // 1024),
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "batch.num.messages": BATCH_RECORDS,
            "batch.size": BATCH_BYTES,
        }
        self._heard = Heard()
        self._producer = connected(Producer, config, self._hear)
        self._serving = Serving(self._producer)

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many records of this `extent` would be taken now."""
        return self.records + count <= self.records_max and self.bytes + size <= self.bytes_max

    def send(self, groups: Sequence[Group]) -> asyncio.Future[str | None] | None:
        """Take the records, in order, or None when there is no room for all of them.

        The future is None when every in-sync replica has every record; else it is a sentence, and what was written of
        the groups is unknown.
        """
        count, size = extent(groups)
        if not self.has_room(count, size):
            return None
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        flight = _Flight(loop.create_future(), count, size, groups[0].topic)
        self._flights.add(flight)
        self.records += count
        self.bytes += size
        produce = self._producer.produce

        def told(error: KafkaError | None, message: Message | None) -> None:
            if error is not None and message is not None:
                flight.error = self._failure(error, message.topic() or "")
            flight.left -= 1
            if not flight.left:
                self._landed(flight)

        for topic, key, values, pairs in groups:
            headers = list(pairs) or None
            for value in values:
                try:
                    produce(topic, value, key, ANY_PARTITION, told, None, 0, headers)
                except (BufferError, KafkaException) as exception:
                    flight.error = self._failure(self._told_of(_error_of(exception)), topic)
                    told(None, None)
        if self._timer is None:
            self._timer = loop.call_later(POLL_S, self._serve)
        return flight.future

    def heard_s(self) -> float:
        """The loop's time of the last acknowledgement; 0.0: none yet."""
        return self._answered_s

    async def answers(self, topics: Sequence[str]) -> bool:
        """Whether Kafka answers for these topics; then `missing` are those that do not exist."""
        missing = await asyncio.to_thread(self._ask, topics)
        if missing is not None:
            self.missing = missing
        return missing is not None

    def give_up(self) -> None:
        """Fail what is under way: soon, as librdkafka's answers."""
        self._producer.purge()

    async def close(self, timeout_s: float) -> None:
        """Wait for what is under way, at most so long; what is left then fails. Nothing may be sent afterwards."""
        if self.records and not await self._drains(timeout_s):
            self.give_up()
            await self._drains(CLOSE_SLACK_S)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _drains(self, timeout_s: float) -> bool:
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained
        except TimeoutError:
            return False
        return True

    def _ask(self, topics: Sequence[str]) -> frozenset[str] | None:
        """Those that do not exist, or None where Kafka does not answer. Blocks."""
        missing = frozenset(topics)
        for look in range(MISSING_LOOKS):
            if look and missing:
                threading.Event().wait(LOOK_AGAIN_S)
            try:
                missing = frozenset(topic for topic in missing if not self._has(topic))
            except KafkaException:
                self._look_for_reason(topics)
                return None
        self.to_mend = None
        return missing

    def _look_for_reason(self, topics: Sequence[str]) -> None:
        """Find out which right to write there is missing, or why we are not let in: a producer (librdkafka 2.16.1) is
        told of both as if no broker answered."""
        try:
            self.to_mend = write_denied(self._kafka, topics, ANSWER_TIMEOUT_S)
        except Misconfigured as error:
            self.to_mend = error

    def _has(self, topic: str) -> bool:
        """Whether there is such a topic. Raises `KafkaException` when Kafka does not say, or it cannot be used."""
        found = self._producer.list_topics(topic, ANSWER_TIMEOUT_S).topics.get(topic)
        if found is not None and found.error is not None and found.error.code() not in MISSING:
            raise KafkaException(found.error)
        return found is not None and found.error is None

    def _serve(self) -> None:
        self._serving.poll(0)
        if self._serving.fatal is not None:
            self.broken = self._serving.fatal.str()
            for flight in tuple(self._flights):
                flight.error, flight.left = self._failure(self._serving.fatal, flight.topic), 0
                self._landed(flight)
        assert self._loop is not None
        self._timer = self._loop.call_later(POLL_S, self._serve) if self.records else None

    def _hear(self, error: KafkaError) -> None:
        self._heard(error)
        self._told_of(error)

    def _told_of(self, error: KafkaError) -> KafkaError:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.broken = error.str()
        return error

    def _failure(self, error: KafkaError, topic: str) -> str:
        error = self._serving.fatal or self._heard.behind(error)
        if error.code() in NO_HOME:
            self.missing |= {topic}
        wrong = to_mend(error, topic, self._kafka.sasl_username)
        if error.code() in NO_RIGHT:
            self.to_mend = wrong
        return error.str() if wrong is None else str(wrong)

    def _landed(self, flight: _Flight) -> None:
        assert self._loop is not None
        self._flights.discard(flight)
        count = flight.count
        self.records -= count
        self.bytes -= flight.size
        if flight.error is None:
            self.acknowledged += count
            self._answered_s = self._loop.time()
        else:
            self.failed += count
        if not flight.future.done():
            flight.future.set_result(flight.error)
        if not self.records and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


def _error_of(exception: BufferError | KafkaException) -> KafkaError:
    if isinstance(exception, KafkaException):
        error: KafkaError = exception.args[0]
        return error
    return KafkaError(KafkaError._QUEUE_FULL)
