"""`streamapp capture`: the HTTP endpoint for events of client libraries."""

from __future__ import annotations

import gc
import logging
import os

import click
import uvloop
from aiohttp import web

from streamapp.capture.app import App, demand_topics
from streamapp.capture.intake import Intake
from streamapp.capture.reading.teams import Teams
from streamapp.capture.server import listen, serve
from streamapp.clock import wall_ms
from streamapp.directory.teams import open_directory
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.produce.loop_producer import LoopProducer
from streamapp.settings import Settings, current
from streamapp.web.entry.gate import Gate, gate
from streamapp.web.job import LOG_FORMAT
from streamapp.web.monitor import Handler, listen_apart

log = logging.getLogger("streamapp.capture")

GC_THRESHOLD = (50_000, 20, 50)  # hardly anything of a request is in cycles; looking for them cost a twentieth


@click.command(name="capture")
def command() -> None:
    """Take events of PostHog's client libraries by HTTP and write them to events_plugin_ingestion.

    A request is answered 200 when all replicas have its events. Several processes may share one port. SIGTERM finishes
    what is under way. What it answers when: /openapi.json. Exit code 78 when Kafka answers and has not its topics.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    settings = current()
    # Capture is made to be reached from everywhere: without AUTH its description and its metrics are public, too.
    door = None
    if settings.web.auth != "none":
        door = gate(settings.web, settings.capture.host, wall_ms, peers=False)
    demand_agreement(settings.kafka)
    uvloop.run(_run(settings, door))


async def _run(settings: Settings, door: Gate | None) -> None:
    limits = settings.capture
    producer = LoopProducer(settings.kafka, bytes_max=limits.buffer_bytes_max, records_max=limits.buffer_records_max)
    teams = Teams(open_directory(settings.directory))
    app = App(Intake(teams, limits, os.urandom), producer, limits, wall_ms, door)
    if settings.directory is None:
        log.warning("STREAM_DIRECTORY is not set: no token is known, every request is answered 401")
    await demand_topics(producer)
    listening = listen(limits.host, limits.port)
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d/ for %s", host, port, settings.kafka.bootstrap_servers)
    gc.freeze()  # what is there now stays until the end: no collection needs to look at it
    gc.set_threshold(*GC_THRESHOLD)
    monitor = await listen_apart(settings.web, 0, _apart(app))
    if monitor is not None:
        app.shown.remove("/metrics")
    try:
        await serve(app, producer, limits, listening)
    finally:
        if monitor is not None:
            await monitor.cleanup()


def _apart(app: App) -> dict[str, Handler]:
    """What capture says on the port for monitoring. Its health there is whether it is ready."""

    async def tell(request: web.Request) -> web.Response:
        status, headers, body = app.page({"path": request.path, "headers": request.raw_headers})
        named = {name.decode(): value.decode() for name, value in headers}
        return web.Response(status=status, body=body, headers=named)

    return dict.fromkeys(("/metrics", "/health", "/health/ready", "/health/live"), tell)
