"""`streamapp watch`: how far every group is behind, and what it is about to lose, for Prometheus and the pages."""

from __future__ import annotations

import asyncio
import logging

import click

from streamapp.clock import wall_ms
from streamapp.settings import Settings
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.watcher import Watcher
from streamapp.web.entry.gate import Gate
from streamapp.web.job import application, begun, serve
from streamapp.web.workers.open_money import OpenMoney

log = logging.getLogger("streamapp.watch")


@click.command(name="watch")
def command() -> None:
    """Ask Kafka every STREAM_WATCH__INTERVAL_SECONDS how every registered group stands, and tell Prometheus.

    Works for groups that run, that ended, that were deleted and that never started. Needs DESCRIBE on topics and
    groups, as the principal lag-monitor has it, and reads no record. Serves /metrics with kafka_consumer_group_lag,
    stream_lag_seconds, stream_seconds_to_loss and others, /watch.json with the last hour, and /health. Asks the workers
    of billing groups for the money that is open. Kafka or workers that are away do not end it.
    """
    logging.getLogger("aiokafka").setLevel(logging.WARNING)  # each look logs in
    asyncio.run(_run(*begun(lambda settings: settings.watch.host)))


async def _run(settings: Settings, door: Gate) -> None:
    here, timeout_s = settings.watch, settings.web.peer_timeout_seconds
    money = OpenMoney(wall_ms, timeout_s, door.sign)
    watcher = Watcher(settings.kafka, wall_ms, here.interval_seconds, ask=money.ask)
    metrics = WatchMetrics(lambda: watcher.known)
    app = application(door, settings.web, metrics.exposition, watcher.health, {"/watch.json": watcher.as_json})
    await serve(
        app, here.host, here.port, "STREAM_WATCH__PORT", log, lambda: asyncio.create_task(watcher.run(), name="looks")
    )
