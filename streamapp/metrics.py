"""What a worker tells Prometheus. Names follow Prometheus' rules; every metric carries its consumer group."""

from __future__ import annotations

from collections import Counter as CounterOf
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class GroupMetrics:
    """The metrics of one worker process. All counters move after the commit: what they count has happened."""

    def __init__(self, group: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        label = ("group",)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, (*label, *labels), registry=registry)

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, (*label, "topic", "partition"), registry=registry)

        self.records = counter("stream_records", "Records of the source topic that were applied").labels(group)
        self.events = counter("stream_events_accepted", "Events accepted").labels(group)
        self.duplicates = counter("stream_events_duplicate", "Repeated events that were ignored").labels(group)
        self.rounded = counter("stream_cost_rounded", "Costs that had more than 12 decimals and were rounded").labels(
            group
        )
        self.others = counter(
            "stream_events_other", "Events that count under a name that their bill or account does not tell apart"
        ).labels(group)
        self.chunks = counter("stream_chunks", "Chunks, each one transaction").labels(group)
        self._rejected = counter("stream_events_rejected", "Records written to dead_letter", "reason")
        self._statements = counter("stream_statements", "Statements written to billing_events", "kind")
        self.commit_seconds = Histogram(
            "stream_commit_seconds",
            "From a chunk's first write to its commit",
            label,
            registry=registry,
            buckets=SECONDS,
        ).labels(group)
        self.lag = gauge("stream_lag_records", "Records that are not applied yet")
        self.watermark = gauge("stream_watermark_timestamp_seconds", "Highest event time accepted")
        self.open_rows = gauge("stream_open_rows", "Rows of hours that are open")
        self.gathered = gauge("stream_batch_records", "Records that wait for their batch")
        self.trouble = gauge("stream_sink_trouble", "1 while the sink does not take a batch")
        self.group = group
        self.letters = 0

    def committed(self, records: int, seconds: float) -> None:
        """A transaction of so many source records took so long."""
        self.chunks.inc()
        self.records.inc(records)
        self.commit_seconds.observe(seconds)

    def rejected(self, reason: str) -> None:
        """A dead letter was written."""
        self.letters += 1
        self._rejected.labels(self.group, reason).inc()

    def stated(self, kind: str, count: int) -> None:
        """Statements were written; kind is `hourly`, `revised`, `budget` or `settled`."""
        if count:
            self._statements.labels(self.group, kind).inc(count)

    def at(self, topic: str, partition: int, *, lag: int, watermark_ms: int | None, open_rows: int) -> None:
        """Where a partition is now."""
        labels = (self.group, topic, str(partition))
        self.lag.labels(*labels).set(lag)
        self.open_rows.labels(*labels).set(open_rows)
        if watermark_ms is not None:
            self.watermark.labels(*labels).set(watermark_ms / 1000)

    def gathers(self, topic: str, partition: int, *, gathered: int, trouble: bool) -> None:
        """The same of a sink: what waits for its batch, and whether its destination does not take one."""
        self.gathered.labels(self.group, topic, str(partition)).set(gathered)
        self.trouble.labels(self.group, topic, str(partition)).set(trouble)

    def forget(self) -> None:
        """Partitions were let go: their gauges are another worker's now."""
        for gauge in (self.lag, self.watermark, self.open_rows, self.gathered, self.trouble):
            gauge.clear()

    def exposition(self) -> bytes:
        """Prometheus text format."""
        text: bytes = generate_latest(self.registry)
        return text


@dataclass
class LetterCounts:
    """Dead letters as the table has them. Keys are (source topic, who refused, reason), or a destination's name."""

    totals: CounterOf[tuple[str, str, str]] = field(default_factory=CounterOf)
    window: CounterOf[tuple[str, str, str]] = field(default_factory=CounterOf)
    told: CounterOf[tuple[str, str]] = field(default_factory=CounterOf)  # destination, outcome
    waiting: CounterOf[str] = field(default_factory=CounterOf)
    open: int = 0
    causes: int = 0


class LetterMetrics(Collector):
    """Counters that are read from the table when they are asked for: a restart does not set them back."""

    def __init__(self, counts: Callable[[], LetterCounts]) -> None:
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        return iter(())  # asked when it is registered, before there is a table

    def collect(self) -> Iterator[Metric]:
        counts, source = self._counts(), ("source_topic", "group", "reason")
        letters = CounterMetricFamily("stream_dead_letters", "Dead letters, ever, by who refused what", labels=source)
        window = GaugeMetricFamily("stream_dead_letters_window", "Of these, in the present 5 minutes", labels=source)
        told = CounterMetricFamily(
            "stream_alerts", "Notifications finished, by outcome", labels=("destination", "outcome")
        )
        waiting = GaugeMetricFamily("stream_alerts_waiting", "Notices under way", labels=("destination",))
        for family, numbers in ((letters, counts.totals), (window, counts.window), (told, counts.told)):
            for key, count in sorted(numbers.items()):
                family.add_metric(key, count)
        for name, count in sorted(counts.waiting.items()):
            waiting.add_metric((name,), count)
        yield from (letters, window, told, waiting)
        yield GaugeMetricFamily("stream_incidents_open", "Open incidents", counts.open)
        yield GaugeMetricFamily("stream_letter_causes", "Distinct rejection causes tracked", counts.causes)
