"""What capture tells Prometheus. Plain numbers that the hot path adds to; they become metrics when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from streamapp.metrics import SECONDS


class Counters(Collector):
    """The numbers of one capture process. Events are counted when they are acknowledged."""

    def __init__(self, under_way: Callable[[], tuple[int, int]], connections: Callable[[], int]) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.events = 0
        self.body_bytes = 0
        self._seconds = [0] * (len(SECONDS) + 1)
        self._seconds_sum = 0.0
        self._under_way, self._connections = under_way, connections
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def answered(self, status: int, slug: str, seconds: float) -> None:
        """A request was answered after so long."""
        self.answers[status, slug] += 1
        self._seconds[bisect_left(SECONDS, seconds)] += 1
        self._seconds_sum += seconds

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        requests = CounterMetricFamily("capture_requests", "Requests answered", labels=("status", "slug"))
        for (status, slug), count in sorted(self.answers.items()):
            requests.add_metric((str(status), slug), count)
        yield requests
        refused = CounterMetricFamily("capture_events_refused", "Written to dead_letter", labels=("reason",))
        for reason, count in sorted(self.refused.items()):
            refused.add_metric((reason,), count)
        yield refused
        about = "Events whose timestamp cannot be read: they count as of now, or of their offset"
        unreadable = CounterMetricFamily("capture_timestamps_unreadable", about, labels=("lib",))
        for lib, count in sorted(self.unreadable.items()):
            unreadable.add_metric((lib,), count)
        yield unreadable
        yield CounterMetricFamily("capture_events", "Events acknowledged by all replicas", value=self.events)
        yield CounterMetricFamily("capture_body_bytes", "Bytes of bodies received", value=self.body_bytes)
        buckets, total = [], 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self._seconds, strict=True):
            total += count
            buckets.append((bound, float(total)))
        about = "From the end of a request's headers to its answer"
        yield HistogramMetricFamily("capture_request_seconds", about, buckets=buckets, sum_value=self._seconds_sum)
        records, size = self._under_way()
        yield GaugeMetricFamily("capture_unacknowledged_records", "Records under way to Kafka", value=records)
        yield GaugeMetricFamily(
            "capture_buffer_bytes", "Bytes of records under way and of bodies coming in", value=size
        )
        yield GaugeMetricFamily("capture_connections", "Open connections", value=self._connections())

    def exposition(self) -> bytes:
        """Prometheus text format."""
        text: bytes = generate_latest(self._registry)
        return text
