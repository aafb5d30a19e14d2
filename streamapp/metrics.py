"""What a worker tells Prometheus. Names follow Prometheus' rules; every metric carries its consumer group."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as CounterOf
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from platform import python_version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""For what a destination or a silent batch may hold up."""

BILL_SECONDS = (300, 330, 360, 420, 600, 900, 1800, 3600, 7200, 21600, 86400)
"""An hour closes five minutes after its end at the earliest."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The format that has exemplars. Prometheus asks for it."""

END = b"# EOF\n"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` series beside each counter and histogram says nothing that a counter does not


VERSION = version("hanzo-stream")


def registry() -> CollectorRegistry:
    """What every process tells: its own `process_*`, and which version it runs, `stream_build_info`."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    about = "Constant 1: the version that runs"
    Info("stream_build", about, registry=made).info({"version": VERSION, "python": python_version()})
    return made


def wants_openmetrics(accept: str) -> bool:
    """Whether whoever asks reads OpenMetrics, by its Accept header."""
    return "application/openmetrics-text" in accept


def exposition(of: CollectorRegistry, openmetrics: bool = False, more: bytes = b"") -> bytes:
    """All metrics as text. `more` are families in the same format, and go behind them."""
    if not openmetrics:
        plain: bytes = generate_latest(of)
        return plain + more
    text: bytes = generate_openmetrics(of)  # type: ignore[no-untyped-call]
    return text.removesuffix(END) + more + END


@dataclass(frozen=True, slots=True)
class Role:
    """What a group does, as far as metrics mean something for it only then."""

    states: bool = True  # it writes statements about hours, which cost something
    letters: bool = True  # what it refuses becomes a dead letter
    sink: bool = True  # it keeps records in a destination outside Kafka
    table: bool = True  # it keeps rows


class GroupMetrics:
    """The metrics of one worker process. All counters move after the commit: what they count has happened. What means
    nothing for its role is not exported."""

    def __init__(self, group: str, role: Role = Role()) -> None:
        self.registry = registry()
        self.group = group
        self.letters = 0
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.records = counter("stream_records", "Records of the source topic that were applied")
        self.events = counter("stream_events_accepted", "Events accepted")
        self.chunks = counter("stream_chunks", "Chunks, each one transaction")
        self.duplicates = counter("stream_events_duplicate", "Repeated events that were ignored", role.table)
        self.rounded = counter(
            "stream_cost_rounded", "Costs that had more than 12 decimals and were rounded", role.states
        )
        about = "Events whose model or method has no line of its own in the bill or account"
        self.others = counter("stream_events_other", about, role.states)
        self._rejected = self._labelled(
            "stream_events_rejected", "Records written to dead_letter", "reason", role.letters
        )
        self._statements = self._labelled("stream_statements", "Statements written to their topic", "kind", role.states)
        self.commit_seconds = histogram("stream_commit_seconds", "From a chunk's first write to its commit")
        about = "From the time of a chunk's first record, as its producer or capture gave it, to the commit of its rows"
        self._table_seconds = histogram("stream_capture_to_table_seconds", about, buckets=LONG_SECONDS)
        about = "From the end of an hour to the commit of its first statement"
        self._bill_seconds = histogram("stream_usage_to_bill_seconds", about, role.states, BILL_SECONDS)
        self.rebalances = counter("stream_rebalances", "Rebalances of the group that this worker took part in")
        about = "From the end of a rebalance until its partitions are owned and their rows restored"
        self.takeover_seconds = histogram("stream_takeover_seconds", about, buckets=LONG_SECONDS)
        self.owned = gauge("stream_partitions_owned", "Partitions owned", labels=("topic",))
        self.lag = gauge("stream_lag_records", "Records that are not applied yet")
        about = "Highest event time accepted"
        self.watermark = gauge("stream_watermark_timestamp_seconds", about, role.table)
        self.open_rows = gauge("stream_open_rows", "Rows of hours that are open", role.states)
        self.gathered = gauge("stream_batch_records", "Records that wait for their batch", role.sink)
        about = "1 while the destination does not accept a batch"
        self.failing = gauge("stream_sink_failing", about, role.sink)
        self.trouble = gauge("stream_sink_trouble", f"{about}; the former name, for this release", role.sink)
        about = "How long the destination took to answer a request about a batch"
        self.sink_seconds = histogram("stream_sink_request_seconds", about, role.sink, LONG_SECONDS)
        about = "Requests that the destination did not answer, or refused for now; each is made again"
        self.sink_errors = counter("stream_sink_errors", about, role.sink)

    def _counter(self, name: str, about: str, exported: bool = True) -> Counter:
        made = Counter(name, about, ("group",), registry=self.registry if exported else None)
        return made.labels(self.group)

    def _labelled(self, name: str, about: str, label: str, exported: bool) -> Counter:
        return Counter(name, about, ("group", label), registry=self.registry if exported else None)

    def _gauge(
        self, name: str, about: str, exported: bool = True, labels: tuple[str, ...] = ("topic", "partition")
    ) -> Gauge:
        return Gauge(name, about, ("group", *labels), registry=self.registry if exported else None)

    def _histogram(
        self, name: str, about: str, exported: bool = True, buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        to = self.registry if exported else None
        return Histogram(name, about, ("group",), registry=to, buckets=buckets).labels(self.group)

    def committed(self, records: int, seconds: float, age_s: float | None = None, trace: str = "") -> None:
        """A transaction of so many source records took so long; the first of them is so old. `trace`: its trace id."""
        self.chunks.inc()
        self.records.inc(records)
        exemplar = {"trace_id": trace} if trace else None
        self.commit_seconds.observe(seconds, exemplar)
        if age_s is not None:
            self._table_seconds.observe(age_s, exemplar)

    def took_over(self, seconds: float) -> None:
        """Partitions are in hand after so long."""
        self.takeover_seconds.observe(seconds)

    def sink_asked(self, seconds: float, answered: bool) -> None:
        """The destination was asked something: it took so long, and did or did not answer."""
        if answered:
            self.sink_seconds.observe(seconds)
        else:
            self.sink_errors.inc()

    def rejected(self, reason: str) -> None:
        """A dead letter was written."""
        self.letters += 1
        self._rejected.labels(self.group, reason).inc()

    def stated(self, kind: str, count: int, ended_s: Iterable[float] = ()) -> None:
        """Statements were written; kind is `hourly`, `revised`, `budget` or `settled`. `ended_s`: how long ago the hour
        of each ended."""
        if count:
            self._statements.labels(self.group, kind).inc(count)
        for seconds, times in CounterOf(ended_s).items():  # statements of one hour say the same
            _observe(self._bill_seconds, max(0.0, seconds), times)

    def owns(self, topic: str, partitions: int) -> None:
        """So many are in hand."""
        self.owned.labels(self.group, topic).set(partitions)

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
        for failing in (self.failing, self.trouble):
            failing.labels(self.group, topic, str(partition)).set(trouble)

    def forget(self) -> None:
        """Partitions were let go: their gauges are another worker's now."""
        for gauge in (self.lag, self.watermark, self.open_rows, self.gathered, self.failing, self.trouble):
            gauge.clear()

    def exposition(self, openmetrics: bool = False, more: bytes = b"") -> bytes:
        """Prometheus text format, or OpenMetrics."""
        return exposition(self.registry, openmetrics, more)


class Told(Collector):
    """Metrics that `collect` makes anew on each scrape, beside what every process tells."""

    def __init__(self) -> None:
        self.registry = registry()
        self.registry.register(self)

    def exposition(self, openmetrics: bool = False) -> bytes:
        """Prometheus text format, or OpenMetrics."""
        return exposition(self.registry, openmetrics)


Samples = Iterable[tuple[tuple[str, ...], float | None]]
"""The values of the labels, and the number; None: it is not known, and has no sample."""


def gauges(name: str, about: str, labels: Sequence[str], samples: Samples) -> Metric:
    """A gauge with labels."""
    return _filled(GaugeMetricFamily(name, about, None, labels), samples)


def counters(name: str, about: str, labels: Sequence[str], samples: Samples) -> Metric:
    """A counter with labels."""
    return _filled(CounterMetricFamily(name, about, None, labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


class Families(Collector):
    """Metrics that were found elsewhere, for one exposition."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def waiting_letters(oldest_s: float | None, waiting: int, redriven: int, openmetrics: bool) -> bytes:
    """What is done about dead letters, as families to go behind an exposition. `oldest_s`: the age of the oldest that
    waits; None: none waits."""
    of = CollectorRegistry()
    of.register(Families(*waiting_families(oldest_s, waiting, redriven)))
    return exposition(of, openmetrics).removesuffix(END)


def waiting_families(oldest_s: float | None, waiting: int, redriven: int) -> tuple[Metric, ...]:
    """The same as metrics."""
    about = "Dead letters that were neither sent again nor dropped, of the newest 5,000"
    older = "Age of the oldest of these; 0: none waits"
    return (
        GaugeMetricFamily("stream_dead_letters_waiting", about, waiting),
        GaugeMetricFamily("stream_dead_letters_oldest_waiting_seconds", older, oldest_s or 0.0),
        CounterMetricFamily("stream_dead_letters_redriven", "Dead letters that were sent again", redriven),
    )


def _observe(histogram: Histogram, amount: float, times: int) -> None:
    """`Histogram.observe`, so many times at once."""
    histogram._sum.inc(amount * times)
    histogram._buckets[bisect_left(histogram._upper_bounds, amount)].inc(times)
