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
    """Sends `records`, `rate` a second, until they end. `trouble` is what stopped it early."""

    def __init__(self, kafka: KafkaSettings, records: Iterable[SimulatedRecord], rate: float) -> None:
        super().__init__(name="chaos-load", daemon=True)
        self._kafka = kafka.model_copy(update={"delivery_timeout_seconds": PATIENCE_S})
        self._records, self._rate = iter(records), rate
        self._over = threading.Event()
        self.sent = self.again = 0
        self.keys: Counter[bytes] = Counter()  # records of each key
        self.trouble: Exception | None = None

    def run(self) -> None:
        try:
            self._send()
        except Exception as error:
            self.trouble = error

    def end(self) -> None:
        """Send no more; what was sent is acknowledged when this returns. Raises what went wrong."""
        self._over.set()
        self.join()
        if self.trouble is not None:
            raise self.trouble

    def _send(self) -> None:
        began_s, late = monotonic_s(), deque[SimulatedRecord]()
        with RawProducer(self._kafka) as first, RawProducer(self._kafka) as second:
            while not self._over.wait(PAUSE_S):
                due = int(self._rate * (monotonic_s() - began_s)) - self.sent
                batch = list(islice(self._records, max(0, due)))
                if due > 0 and not batch:
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
