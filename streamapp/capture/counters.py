"""What capture tells Prometheus. Plain numbers that the hot path adds to; they become metrics when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from streamapp.metrics import SECONDS, Told, counters
from streamapp.schemas.values.trace import HEADER, trace_id

PREFIXES = ("stream_capture", "capture")  # the second: as the release before named them


class _Seconds:
    """A histogram. Of each bucket the last trace that fell into it is known."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self._sum = 0.0
        self._traces: dict[int, Exemplar] = {}

    def add(self, seconds: float, trace: str = "") -> None:
        at = bisect_left(SECONDS, seconds)
        self._counts[at] += 1
        self._sum += seconds
        if trace:
            self._traces[at] = Exemplar({"trace_id": trace}, seconds)

    def family(self, name: str, about: str) -> Metric:
        buckets: list[tuple[str, float, Exemplar | None]] = []
        total = 0
        for at, (bound, count) in enumerate(zip((*map(str, SECONDS), "+Inf"), self._counts, strict=True)):
            total += count
            buckets.append((bound, float(total), self._traces.get(at)))
        return HistogramMetricFamily(name, about, buckets=buckets, sum_value=self._sum)  # type: ignore[arg-type]


class Counters(Told):
    """The numbers of one capture process. Events are counted when they are acknowledged."""

    def __init__(self, under_way: Callable[[], tuple[int, int]], connections: Callable[[], int]) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.events = 0
        self.body_bytes = 0
        self._request, self._to_topic = _Seconds(), _Seconds()
        self._under_way, self._connections = under_way, connections
        super().__init__()

    def answered(self, status: int, slug: str, seconds: float) -> None:
        """A request was answered after so long."""
        self.answers[status, slug] += 1
        self._request.add(seconds)

    def acknowledged(self, seconds: float, traceparent: bytes) -> None:
        """Every replica has the records of a request, so long after its headers came."""
        self._to_topic.add(seconds, trace_id(((HEADER, traceparent),)))

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        for prefix in PREFIXES:
            yield from self._families(prefix)
        about = "Events acknowledged by all replicas, by what they became"
        became = ((("accepted",), self.events), (("dead_letter",), self.refused.total()))
        yield counters("stream_capture_events", about, ("outcome",), became)
        yield CounterMetricFamily("capture_events", "Events acknowledged by all replicas", value=self.events)
        about = "From the end of a request's headers until every in-sync replica has its records"
        yield self._to_topic.family("stream_capture_to_topic_seconds", about)

    def _families(self, prefix: str) -> Iterator[Metric]:
        requests = (((str(status), slug), count) for (status, slug), count in sorted(self.answers.items()))
        yield counters(f"{prefix}_requests", "Requests answered", ("status", "slug"), requests)
        refused = (((reason,), count) for reason, count in sorted(self.refused.items()))
        yield counters(f"{prefix}_events_refused", "Written to dead_letter", ("reason",), refused)
        about = "Events whose timestamp cannot be read: they count as of now, or of their offset"
        unreadable = (((lib,), count) for lib, count in sorted(self.unreadable.items()))
        yield counters(f"{prefix}_timestamps_unreadable", about, ("lib",), unreadable)
        yield CounterMetricFamily(f"{prefix}_body_bytes", "Bytes of bodies received", value=self.body_bytes)
        yield self._request.family(f"{prefix}_request_seconds", "From the end of a request's headers to its answer")
        records, size = self._under_way()
        yield GaugeMetricFamily(
            f"{prefix}_unacknowledged_records", "Records sent to Kafka and not acknowledged yet", value=records
        )
        about = "Bytes of records not acknowledged yet and of bodies being received"
        yield GaugeMetricFamily(f"{prefix}_buffer_bytes", about, value=size)
        yield GaugeMetricFamily(f"{prefix}_connections", "Open connections", value=self._connections())
