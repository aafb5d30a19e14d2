"""The job's metrics for Prometheus, made from the newest outcomes on each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamapp.metrics import exposition, registry
from streamapp.reconcile.reconciler import Standing

PAIR = ("pair",)


class ReconcileMetrics(Collector):
    """Of a pair that could not be checked, the difference is absent and `failed` is 1."""

    def __init__(
        self,
        standings: Callable[[], Iterable[Standing]],
        topic_findings: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self._standings, self._topic_findings = standings, topic_findings
        self.registry = registry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        differs = GaugeMetricFamily(
            "stream_reconciliation_difference",
            "Events or records the two sides disagree about; 0: all is well",
            None,
            PAIR,
        )
        failed = GaugeMetricFamily("stream_reconciliation_failed", "1: the pair could not be checked", None, PAIR)
        seconds = GaugeMetricFamily("stream_reconciliation_seconds", "How long the last check took", None, PAIR)
        events = GaugeMetricFamily("stream_reconciliation_events", "Events on the left side, each once", None, PAIR)
        waiting = GaugeMetricFamily("stream_reconciliation_waiting", "Of these, not yet due on the right", None, PAIR)
        succeeded = GaugeMetricFamily(
            "stream_reconciliation_last_success_timestamp_seconds", "When the pair could last be checked", None, PAIR
        )
        for standing in self._standings():
            pair, outcome = (standing.name,), standing.outcome
            if outcome is None:
                continue
            failed.add_metric(pair, outcome.report is None)
            seconds.add_metric(pair, outcome.seconds)
            if outcome.report is not None:
                differs.add_metric(pair, outcome.report.difference)
                events.add_metric(pair, outcome.report.events)
                waiting.add_metric(pair, outcome.report.waiting)
            if standing.succeeded_ms is not None:
                succeeded.add_metric(pair, standing.succeeded_ms / 1000)
        topics = GaugeMetricFamily(
            "stream_topics_findings",
            "What streamapp topics check finds; absent: it could not be done",
            None,
            ("kind",),
        )
        for kind, count in (self._topic_findings() or {}).items():
            topics.add_metric((kind,), count)
        yield topics
        yield from (differs, failed, seconds, events, waiting, succeeded)

    def exposition(self, openmetrics: bool = False) -> bytes:
        """Prometheus' text format, or OpenMetrics."""
        return exposition(self.registry, openmetrics)
