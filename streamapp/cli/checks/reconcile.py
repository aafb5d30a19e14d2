"""`streamapp reconcile`: the job that checks every pair again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import click

from streamapp.clock import wall_ms
from streamapp.reconcile.reconciler import Reconciler, check_topics
from streamapp.reconcile.server import PORT, application
from streamapp.settings import Settings
from streamapp.verify.pairs import NAMES, wanted
from streamapp.web.entry.gate import Gate
from streamapp.web.job import begun, serve

NICE = 10  # it reads logs from their beginning: workers come first

log = logging.getLogger("streamapp.reconcile")


@click.command(name="reconcile")
def command() -> None:
    """Check all that must agree every STREAM_RECONCILE__INTERVAL_SECONDS, and tell Prometheus and the pages.

    The checks are those of `streamapp verify` and `streamapp topics check`. Serves /metrics with
    stream_reconciliation_difference of each pair and stream_topics_findings of each kind, /reconciliation.json and
    /health. A check that fails, because Kafka or a destination is away, does not end it.
    """
    os.nice(NICE)
    asyncio.run(_run(*begun(lambda settings: settings.reconcile.host)))


async def _run(settings: Settings, door: Gate) -> None:
    stop, here = threading.Event(), settings.reconcile
    reconciler = Reconciler(settings, wanted(NAMES), wall_ms, check_topics)
    # A daemon: it only reads, so a check that is under way at the end is not waited for.
    checks = threading.Thread(target=reconciler.run, args=(stop,), name="checks", daemon=True)
    await serve(application(reconciler, door, settings.web), here.host, here.port, PORT, log, checks.start)
    stop.set()
