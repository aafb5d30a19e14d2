"""What the job serves."""

from __future__ import annotations

from aiohttp import web

from streamapp.reconcile.metrics import ReconcileMetrics
from streamapp.reconcile.reconciler import Reconciler
from streamapp.settings.web import WebSettings
from streamapp.web import job
from streamapp.web.entry.gate import Gate

PORT = "STREAM_RECONCILE__PORT"


def application(reconciler: Reconciler, gate: Gate, settings: WebSettings) -> web.Application:
    """`/metrics`, `/reconciliation.json` and `/health`."""
    metrics = ReconcileMetrics(lambda: reconciler.standings, lambda: reconciler.topic_findings)
    pages = {"/reconciliation.json": reconciler.as_json}
    return job.application(gate, settings, metrics.exposition, reconciler.health, pages)
