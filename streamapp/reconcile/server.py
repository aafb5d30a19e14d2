"""What the job serves; its metrics for Prometheus are made from the newest outcomes on each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from aiohttp import web
from prometheus_client.metrics_core import Metric

from streamapp.metrics import Told, gauges
from streamapp.reconcile.reconciler import Reconciler, Standing
from streamapp.settings.web import WebSettings
from streamapp.web import job
from streamapp.web.entry.gate import Gate

PAIR = ("pair",)
PORT = "STREAM_RECONCILE__PORT"


class ReconcileMetrics(Told):
    """Of a pair that could not be checked, the difference is absent and `failed` is 1."""

    def __init__(
        self,
        standings: Callable[[], Iterable[Standing]],
        topic_findings: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self._standings, self._topic_findings = standings, topic_findings
        super().__init__()

    def collect(self) -> Iterator[Metric]:
        found = (((kind,), count) for kind, count in (self._topic_findings() or {}).items())
        about = "What streamapp topics check finds; absent: it could not be done"
        yield gauges("stream_topics_findings", about, ("kind",), found)
        standings = list(self._standings())
        outcomes = {(one.name,): one.outcome for one in standings if one.outcome is not None}
        reports = {pair: outcome.report for pair, outcome in outcomes.items() if outcome.report is not None}
        about = "Events or records the two sides disagree about; 0: all is well"
        differs = ((pair, report.difference) for pair, report in reports.items())
        yield gauges("stream_reconciliation_difference", about, PAIR, differs)
        failed = ((pair, outcome.report is None) for pair, outcome in outcomes.items())
        yield gauges("stream_reconciliation_failed", "1: the pair could not be checked", PAIR, failed)
        seconds = ((pair, outcome.seconds) for pair, outcome in outcomes.items())
        yield gauges("stream_reconciliation_seconds", "How long the last check took", PAIR, seconds)
        events = ((pair, report.events) for pair, report in reports.items())
        yield gauges("stream_reconciliation_events", "Events on the left side, each once", PAIR, events)
        waiting = ((pair, report.waiting) for pair, report in reports.items())
        yield gauges("stream_reconciliation_waiting", "Of these, not yet due on the right", PAIR, waiting)
        about = "When the pair could last be checked"
        succeeded = (((one.name,), one.succeeded_ms and one.succeeded_ms / 1000) for one in standings)
        yield gauges("stream_reconciliation_last_success_timestamp_seconds", about, PAIR, succeeded)


def application(reconciler: Reconciler, gate: Gate, settings: WebSettings) -> web.Application:
    """`/metrics`, `/reconciliation.json` and `/health`."""
    metrics = ReconcileMetrics(lambda: reconciler.standings, lambda: reconciler.topic_findings)
    pages = {"/reconciliation.json": reconciler.as_json}
    return job.application(gate, settings, metrics.exposition, reconciler.health, pages)
