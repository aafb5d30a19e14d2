"""The load of a chaos run: usage at a steady rate from one producer, some of it again from another one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from streamapp.clock import monotonic_s
from streamapp.kafka.produce.raw_producer import RawProducer
from streamapp.settings import KafkaSettings
from streamapp.simulate.usage import SimulatedRecord

TOPIC = "llm_usage"
AGAIN_EVERY = 25  # every so many records is sent by the other producer, too
BEHIND = 200  # so many records later
PATIENCE_S = 900.0  # an outage is not the producers' end, however slowly the broker comes back
PAUSE_S = 0.02
ODD_EVERY = 1000  # after so many records, one of the odd ones
# What no producer with a serializer sends, and somebody will all the same; beside the poison that is simulated.
ODD: tuple[tuple[bytes | None, bytes | None], ...] = (
    (None, b'{"id":"evt_nobody"}'),
    (None, None),
    (b"team_odd", b'\xef\xbb\xbf{"schema":"hanzo.stream.v1"}'),  # a byte order mark
    (b"team_odd", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    (b"team_odd", b'{"x":[{}'),  # broken alone, whole together with the next one
    (b"team_odd", b'{"y":1}]}'),
    (b"team_odd", b'"' + b"long" * 200_000 + b'"'),
)


class Load(threading.Thread):
    """Sends `events` records in `seconds`, but not more of them than it is allowed. `trouble` is what stopped it early.

    Faults are told by it when it is their turn: so all of them happen under load, however slow the machine is.
    """

    def __init__(self, kafka: KafkaSettings, records: Iterable[SimulatedRecord], events: int, seconds: float) -> None:
        super().__init__(name="chaos-load", daemon=True)
        self._kafka = kafka.model_copy(update={"delivery_timeout_seconds": PATIENCE_S})
        self._records, self._events, self._seconds = iter(records), events, seconds
        self._allowed = 1.0
        self._over = threading.Event()
        self.sent = self.again = self.odd = 0
        self.keys: Counter[bytes] = Counter()  # records of each key
        self.trouble: Exception | None = None

    def run(self) -> None:
        try:
            self._send()
        except Exception as error:
            self.trouble = error

    def allow(self, share: float) -> None:
        """Send up to this share of the records, for now."""
        self._allowed = share

    def reached(self, share: float) -> bool:
        """Whether so much of the load is sent, or no more will be."""
        return self.sent >= int(share * self._events) or not self.is_alive()

    def end(self) -> None:
        """Send no more; what was sent is acknowledged when this returns. Raises what went wrong."""
        self._over.set()
        self.join()
        if self.trouble is not None:
            raise self.trouble

    def _send(self) -> None:
        seen_s, passed_s, late = monotonic_s(), 0.0, deque[SimulatedRecord]()
        with RawProducer(self._kafka) as first, RawProducer(self._kafka) as second:
            while not self._over.wait(PAUSE_S):
                now_s = monotonic_s()
                seen_s, passed_s = now_s, min(passed_s + now_s - seen_s, self._allowed * self._seconds)
                due = int(self._events * passed_s / self._seconds) - self.sent
                batch = list(islice(self._records, max(0, due)))
                if self.sent >= self._events:
                    break
                for record in batch:
                    self._put(first, record.key, record.value)
                    self.sent += 1
                    if self.sent % AGAIN_EVERY == 0:
                        late.append(record)
                    if self.sent % ODD_EVERY == 0:
                        self._put(first, *ODD[self.sent // ODD_EVERY % len(ODD)])
                        self.odd += 1
                while len(late) > BEHIND // AGAIN_EVERY:
                    self._again(late.popleft(), second)
            for record in late:
                self._again(record, second)

    def _again(self, record: SimulatedRecord, producer: RawProducer) -> None:
        self._put(producer, record.key, record.value)
        self.again += 1

    def _put(self, producer: RawProducer, key: bytes | None, value: bytes | None) -> None:
        producer.send(TOPIC, key, value)
        self.keys[key or b""] += 1
