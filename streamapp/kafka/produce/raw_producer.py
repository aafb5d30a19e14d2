"""Records to Kafka as they are: the standard's producer settings, and a fast path without judgement of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.errors import DeliveryFailed, Misconfigured
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.clients.login import connected
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.trouble import PROPAGATION_S, Heard, spoken, to_mend
from streamapp.settings import KafkaSettings

POLL_EVERY = 1024  # records between two looks at what failed
FULL_WAIT_S = 0.05
REASON_POLLS = 60
CLOSE_SLACK_S = 5.0  # librdkafka looks for records that timed out about once a second
BUFFER_MIB = 64


def producer_config(kafka: KafkaSettings, buffer_records: int) -> dict[str, Any]:
    """librdkafka's names for the standard's Producer Configuration, connection included.

    Retries have no number of their own: the delivery timeout ends them (decision 22). Raises `Misconfigured`.
    """
    return {
        **confluent_config(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "delivery.timeout.ms": round(kafka.delivery_timeout_seconds * 1000),
        "retry.backoff.ms": 100,
        "max.in.flight.requests.per.connection": 5,
        "compression.type": "lz4",
        "batch.size": 16384,
        "linger.ms": 5,
        # The Java client's: every event of a team on the one partition where its hours are (decision 8).
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": buffer_records,
        "queue.buffering.max.kbytes": BUFFER_MIB * 1024,
        # A broker that came back should be found well within the delivery timeout; the default waits up to 10 s.
        "reconnect.backoff.max.ms": 1000,
        "allow.auto.create.topics": False,
        # A topic that is unknown for longer does not exist. librdkafka's default is as long as the delivery timeout,
        # which would hide the reason.
        "topic.metadata.propagation.max.ms": round(PROPAGATION_S * 1000),
    }


class Serving:
    """Lets a client call back. `fatal` is the error after which it can send no more, once there is one: librdkafka
    raises it out of any call. Records under way are lost then, and not all of them are told. Its code is `_FATAL` where
    the reason got lost: a report that follows on the error within one call takes the exception's place."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.fatal: KafkaError | None = None

    def poll(self, wait_s: float) -> None:
        """Call back, wait so long for something to call back about."""
        with self._fatal():
            self._producer.poll(wait_s)

    def flush(self, timeout_s: float) -> int:
        """Wait until everything sent is settled. Returns how many records are not."""
        with self._fatal():
            self._producer.flush(timeout_s)
        return len(self._producer)

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        try:
            yield
        except (KafkaException, SystemError) as exception:
            told = spoken(exception)
            if told is None:
                raise
            self.fatal = self.fatal or told

    def why(self, error: KafkaError) -> KafkaError:
        """The reason behind an error of `produce`."""
        if self.fatal is None and error.code() == KafkaError._FATAL:
            self.poll(0)
        return self.fatal or error


class RawProducer:
    """Records as bytes, many at a time, from one thread.

        with RawProducer(settings.kafka) as out:
            out.send("llm_usage", key, value)

    Nothing is judged. What Kafka did not acknowledge within the delivery timeout raises `DeliveryFailed` at the next
    look: in `send`, `flush` or at the end; `Misconfigured` when its topic does not exist or may not be written to. The
    buffer holds `buffer_records` or 64 MiB; when it is full, `send` waits.
    """

    def __init__(self, kafka: KafkaSettings, *, buffer_records: int = 100_000) -> None:
        self.sent = 0
        self._timeout_s = kafka.delivery_timeout_seconds + CLOSE_SLACK_S
        self._kafka, self._bootstrap = kafka, kafka.bootstrap_servers
        self._failed = 0
        self._reason = self._topic = ""
        self._to_mend: Misconfigured | None = None
        self._config = {
            **producer_config(kafka, buffer_records),
            "delivery.report.only.error": True,
            "on_delivery": self._failure,
        }
        self._heard = Heard()
        self._producer = connected(Producer, self._config, self._heard)
        self._produce, self._serving = self._producer.produce, Serving(self._producer)

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Put one record into the buffer; wait while it is full. Raises, also for earlier records, as `look`."""
        self._topic = topic
        while True:
            try:
                self._produce(topic, value, key)
                break
            except BufferError:
                self.look(FULL_WAIT_S)
            except KafkaException as exception:
                error = self._serving.why(exception.args[0])
                if wrong := to_mend(error, topic, self._kafka.sasl_username):
                    raise wrong from None
                raise DeliveryFailed(f"a record for {topic} was refused: {error.str()}") from None
        self.sent += 1
        if self.sent % POLL_EVERY == 0:
            self.look()

    @property
    def unacknowledged(self) -> int:
        """Records in the buffer or under way."""
        return len(self._producer)

    @property
    def acknowledged(self) -> int:
        """Records that every in-sync replica has."""
        return self.sent - len(self._producer) - self._failed

    def look(self, wait_s: float = 0) -> None:
        """Raise `DeliveryFailed` or `Misconfigured` if anything sent before has failed. To be called now and then by a
        slow sender."""
        self._serving.poll(wait_s)
        if self._serving.fatal is not None:
            self._failed = max(self._failed, 1)
            self._reason = self._serving.fatal.str()
            self._to_mend = self._behind(self._serving.fatal)
        if self._failed:
            told = f"{self._failed:,} of {self.sent:,} records were not acknowledged by Kafka at {self._bootstrap}"
            if self._to_mend is not None:
                raise type(self._to_mend)(f"{told}: {self._to_mend}")
            raise DeliveryFailed(f"{told} ({self._reason or 'no answer'})")

    def _behind(self, fatal: KafkaError) -> Misconfigured | None:
        if fatal.code() == KafkaError._FATAL:  # its reason got lost: another client with these settings hears it, too
            other = Serving(connected(Producer, self._config, Heard()))
            polls = 0
            while other.fatal is None and (polls := polls + 1) <= REASON_POLLS:
                other.poll(FULL_WAIT_S)
            fatal = other.fatal or fatal
        return self._to_mend or to_mend(fatal, self._topic, self._kafka.sasl_username)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged. Raises as `look`, with the number of what is not."""
        left = self._serving.flush(self._timeout_s)
        if left:
            self._failed += left
        self.look()

    def __enter__(self) -> RawProducer:
        """Raises `Misconfigured` when brokers answer that do not speak as the settings say."""
        demand_agreement(self._kafka)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.flush()
        else:
            self._producer.purge()  # the first failure is told already; do not wait for more of the same

    def _failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            error = self._serving.fatal or self._heard.behind(error)
            self._failed += 1
            self._reason = error.str()
            self._to_mend = to_mend(error, message.topic() or "", self._kafka.sasl_username) or self._to_mend
