"""What the table of dead letters tells Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamapp.metrics import counters, gauges


@dataclass
class LetterCounts:
    """Dead letters as the table has them. Keys are (source topic, who refused, reason), or a destination's name."""

    totals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    window: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)  # destination, outcome
    waiting: Counter[str] = field(default_factory=Counter)
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
        about = "Dead letters, ever, by who refused what"
        yield counters("stream_dead_letters", about, source, sorted(counts.totals.items()))
        about = "Of these, in the present 5 minutes"
        yield gauges("stream_dead_letters_window", about, source, sorted(counts.window.items()))
        labels, about = ("destination", "outcome"), "Notifications finished, by outcome"
        yield counters("stream_alerts", about, labels, sorted(counts.told.items()))
        waiting = sorted(((name,), count) for name, count in counts.waiting.items())
        yield gauges("stream_alerts_waiting", "Notifications in flight", ("destination",), waiting)
        yield GaugeMetricFamily("stream_incidents_open", "Open incidents", counts.open)
        yield GaugeMetricFamily("stream_letter_causes", "Distinct rejection causes tracked", counts.causes)
