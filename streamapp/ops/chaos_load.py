"""The load of a chaos run: usage at a steady rate from one producer, some of it again from another one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from streamapp.clock import monotonic_s
from streamapp.kafka.raw_producer import RawProducer
from streamapp.ops.simulate import SimulatedRecord
from streamapp.settings import KafkaSettings

TOPIC = "llm_usage"
AGAIN_EVERY = 25  # every so many records is sent by the other producer, too
BEHIND = 200  # so many records later
PATIENCE_S = 120.0  # an outage is not the producers' end
PAUSE_S = 0.02


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
        self.sent = self.again = 0
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
                    first.send(TOPIC, record.key, record.value)
                    self.sent += 1
                    self.keys[record.key] += 1
                    if self.sent % AGAIN_EVERY == 0:
                        late.append(record)
                while len(late) > BEHIND // AGAIN_EVERY:
                    self._again(late.popleft(), second)
            for record in late:
                self._again(record, second)

    def _again(self, record: SimulatedRecord, producer: RawProducer) -> None:
        producer.send(TOPIC, record.key, record.value)
        self.again += 1
        self.keys[record.key] += 1
