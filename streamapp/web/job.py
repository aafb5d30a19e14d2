"""The web server of a process that is no worker: for Prometheus, for the pages, and for the supervisor."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from streamapp.clock import wall_ms
from streamapp.errors import Refused
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.metrics import OPENMETRICS, TEXT, wants_openmetrics
from streamapp.settings import Settings, current
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import ASKER, Gate, gate, protect
from streamapp.web.monitor import Handler, beside
from streamapp.web.problem import Problem

LOG_FORMAT = "%(asctime)s [%(levelname)s] %(name)s: %(message)s"

UNWELL = {"/health": {"stuck"}, "/health/ready": {"stuck", "starting"}}
"""Path → the words of `health` that are answered with 503."""


def application(
    gate: Gate,
    settings: WebSettings,
    metrics: Callable[[bool], bytes],
    health: Callable[[], str],
    pages: Mapping[str, Callable[[], object]],
    refused: Callable[[Problem], web.Response] | None = None,
) -> web.Application:
    """`/metrics`, `/health`, its `/ready` and `/live`, and `pages` (path → plain JSON types), all read-only, behind the
    gate of the pages.

    `metrics` is told whether OpenMetrics is wanted. `health` says in a word how the process goes, see
    `UNWELL`. With a port for monitoring in the settings, that one serves as long as this does. `refused` is how the
    gate's word is told, by default as JSON of the pages."""

    async def exposition(request: web.Request) -> web.Response:
        openmetrics = wants_openmetrics(request.headers.get("Accept", ""))
        headers = {"Content-Type": OPENMETRICS if openmetrics else TEXT}
        return web.Response(body=metrics(openmetrics), headers=headers)

    async def healthy(request: web.Request) -> web.Response:
        status = health()
        return _json({"status": status}, 503 if status in UNWELL[request.path] else 200)

    async def live(request: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def page(request: web.Request) -> web.Response:
        return _json(pages[request.path]())

    @web.middleware
    async def gated(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[ASKER] = await gate.admitted(request)
        except Problem as problem:
            response = (refused or _refused)(problem)
            response.headers.update(problem.headers)
            return response
        return await handler(request)

    app = web.Application(middlewares=[gated])
    app.on_response_prepare.append(protect)
    own = {"/metrics": exposition, "/health": healthy, "/health/ready": healthy, "/health/live": live}
    app.add_routes([web.get(path, handler) for path, handler in own.items()])
    app.add_routes([web.get(path, page) for path in pages])
    beside(app, settings, 0, own)
    return app


def begun(host: Callable[[Settings], str], **gate_: Any) -> tuple[Settings, Gate]:
    """What such a process begins with: it logs, knows who may ask, and Kafka speaks as the settings say. `host`: where
    it listens; `gate_`: for its gate. Raises `Misconfigured`."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    settings = current()
    its_gate = gate(settings.web, host(settings), wall_ms, **gate_)
    demand_agreement(settings.kafka)
    return settings, its_gate


async def listen(app: web.Application, host: str, port: int, variable: str) -> tuple[web.AppRunner, int]:
    """Serve on host and port, 0 for a free one; returns the runner to clean up, and the port. Raises `Refused`.

    `variable` sets the port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise Refused(f"cannot listen on {host}:{port}: {error.strerror}; set {variable}") from None
    taken: int = runner.addresses[0][1]
    return runner, taken


async def serve(
    app: web.Application, host: str, port: int, variable: str, log: logging.Logger, listening: Callable[[], object]
) -> None:
    """The same until SIGTERM or SIGINT. `listening` is called when the port is taken; what it returns is kept."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    runner, taken = await listen(app, host, port, variable)
    log.info("listening on http://%s:%d/", host, taken)
    work = listening()
    await over.wait()
    if isinstance(work, asyncio.Task):
        work.cancel()
    await runner.cleanup()


def _refused(problem: Problem) -> web.Response:
    return _json({"error": str(problem), "advice": problem.advice}, problem.status)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
