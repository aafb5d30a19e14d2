"""`streamapp reconcile`: the job that checks every pair again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading

import click

from streamapp.clock import wall_ms
from streamapp.kafka.handshake import demand_agreement
from streamapp.reconcile.reconciler import Reconciler, check_topics
from streamapp.reconcile.server import application, listen
from streamapp.settings import Settings, current
from streamapp.verify.pairs import NAMES, wanted
from streamapp.web.gate import Gate, gate

NICE = 10  # it reads logs from their beginning: workers come first

log = logging.getLogger("streamapp.reconcile")


@click.command(name="reconcile")
def command() -> None:
    """Check all that must agree every STREAM_RECONCILE__INTERVAL_SECONDS, and tell Prometheus and the pages.

    The checks are those of `streamapp verify` and `streamapp topics check`. Serves /metrics with
    stream_reconciliation_difference of each pair and stream_topics_findings of each kind, /reconciliation.json and
    /health. A check that fails, because Kafka or a destination is away, does not end it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s")
    os.nice(NICE)
    settings = current()
    door = gate(settings.web, settings.reconcile.host, wall_ms)
    demand_agreement(settings.kafka)
    asyncio.run(_run(settings, door))


async def _run(settings: Settings, door: Gate) -> None:
    over, stop = asyncio.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    reconciler = Reconciler(settings, wanted(NAMES), wall_ms, check_topics)
    runner, port = await listen(
        application(reconciler, door, settings.web), settings.reconcile.host, settings.reconcile.port
    )
    log.info("listening on http://%s:%d/ for %s", settings.reconcile.host, port, settings.kafka.bootstrap_servers)
    # A daemon: it only reads, so a check that is under way at the end is not waited for.
    threading.Thread(target=reconciler.run, args=(stop,), name="checks", daemon=True).start()
    await over.wait()
    stop.set()
    await runner.cleanup()
