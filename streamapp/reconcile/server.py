"""What the job serves."""

from __future__ import annotations

from aiohttp import web

from streamapp.reconcile.metrics import ReconcileMetrics
from streamapp.reconcile.reconciler import Reconciler
from streamapp.web import job
from streamapp.web.gate import Gate

PORT = "STREAM_RECONCILE__PORT"


def application(reconciler: Reconciler, gate: Gate) -> web.Application:
    """`/metrics`, `/reconciliation.json` and `/health`."""
    metrics = ReconcileMetrics(lambda: reconciler.standings, lambda: reconciler.topic_findings)
    return job.application(gate, metrics.exposition, reconciler.health, {"/reconciliation.json": reconciler.as_json})
