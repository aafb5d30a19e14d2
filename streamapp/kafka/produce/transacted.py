"""Records for several topics, all or nothing, from a tool that a person runs: one at a time in a whole cluster.

    with TransactedProducer(settings.kafka, "dead-letters-redrive") as out:
        offsets = out.commit(records, lambda offsets: [...])

Starting it ends what an earlier run under the same transactional id left unfinished, and takes the right to write
from one that still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.errors import DeliveryFailed, Refused, StreamError, Unavailable
from streamapp.kafka.acls import write_denied
from streamapp.kafka.clients.login import connected
from streamapp.kafka.produce.raw_producer import CLOSE_SLACK_S, producer_config
from streamapp.kafka.trouble import Heard, spoken, to_mend
from streamapp.settings import KafkaSettings

# Readers of committed records wait behind an unfinished transaction: a tool that was killed must not stop them longer.
TRANSACTION_TIMEOUT_S = 15
BUFFER_RECORDS = 100_000
ANSWER_S = 10.0
MESSAGE_BYTES_MAX = 8 << 20  # the topics set their own, lower limits


class Outgoing(NamedTuple):
    """A record and the partition it belongs on. `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class TransactedProducer:
    """Raises `Unavailable` when Kafka does not answer, `Refused` when somebody else took over, `Misconfigured` when a
    topic does not exist, `Denied` when one may not be written to."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str) -> None:
        self._timeout_s = kafka.delivery_timeout_seconds + CLOSE_SLACK_S
        self._id, self._kafka = transactional_id, kafka
        self._heard = Heard()
        self._producer = connected(
            Producer,
            {
                **producer_config(kafka, BUFFER_RECORDS),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_S * 1000,
                "delivery.timeout.ms": min(round(kafka.delivery_timeout_seconds), TRANSACTION_TIMEOUT_S) * 1000,
                "message.max.bytes": MESSAGE_BYTES_MAX,
            },
            self._heard,
        )

    def __enter__(self) -> TransactedProducer:
        try:
            self._producer.init_transactions(self._timeout_s)
        except KafkaException as exception:
            raise self._translated(exception.args[0]) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._producer.purge()

    def commit(
        self, records: Sequence[Outgoing], about: Callable[[Sequence[int]], Sequence[Outgoing]] = lambda _: ()
    ) -> list[int]:
        """Write the records, and what `about` makes of their offsets, in one transaction. Returns the offsets."""
        begun = False
        try:
            self._producer.begin_transaction()
            begun = True
            offsets = self._written(records)
            self._written(about(offsets))
            self._producer.commit_transaction(self._timeout_s)
        except BaseException as error:
            if begun:
                self._abort()
            told = spoken(error)
            if told is not None:
                raise self._translated(told) from None
            raise
        return offsets

    def _written(self, records: Sequence[Outgoing]) -> list[int]:
        """Write and wait; the offsets, in the order of the records."""
        offsets = [-1] * len(records)
        failures: list[StreamError] = []

        def told(index: int) -> Callable[[KafkaError | None, Message], None]:
            def tell(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    failures.append(self._translated(error, message.topic() or ""))
                else:
                    offsets[index] = message.offset()

            return tell

        for index, (topic, partition, key, value, headers) in enumerate(records):
            while True:
                try:
                    self._producer.produce(
                        topic, value, key, partition=partition, headers=list(headers), on_delivery=told(index)
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as exception:
                    raise self._translated(exception.args[0], topic) from None
        self._producer.flush(self._timeout_s)
        if failures:
            raise write_denied(self._kafka, dict.fromkeys(one.topic for one in records), ANSWER_S) or failures[0]
        if -1 in offsets:
            raise DeliveryFailed(f"{offsets.count(-1)} of {len(offsets)} records were not acknowledged by Kafka")
        return offsets

    def _abort(self) -> None:
        try:
            self._producer.abort_transaction(self._timeout_s)
        except (KafkaException, SystemError):
            self._producer.purge()  # the broker aborts it; the first failure is the one to tell

    def _translated(self, error: KafkaError, topic: str = "") -> StreamError:
        if error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
            return Refused(f"somebody else began to write as {self._id}; nothing of this transaction was done")
        with suppress(KafkaException):  # of an error that is fatal
            self._producer.poll(0)  # delivers what is `_heard`
        if wrong := to_mend(self._heard.behind(error), topic, self._kafka.sasl_username, self._id):
            return wrong
        return Unavailable(f"Kafka did not take the transaction, nothing of it was done: {error.str()}")
