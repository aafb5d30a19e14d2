"""The job's web server: for Prometheus, for the pages, and for the supervisor's health check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from streamapp.errors import Refused
from streamapp.reconcile.metrics import ReconcileMetrics
from streamapp.reconcile.reconciler import Reconciler
from streamapp.web.gate import Gate, protect
from streamapp.web.problem import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(reconciler: Reconciler, gate: Gate) -> web.Application:
    """`/metrics`, `/reconciliation.json`, `/health` and its two, all read-only, behind the gate of the pages."""
    metrics = ReconcileMetrics(lambda: reconciler.standings, lambda: reconciler.topic_findings)

    async def exposition(request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=metrics.exposition(), headers=headers)

    async def found(request: web.Request) -> web.Response:
        return _json(reconciler.as_json())

    async def health(request: web.Request) -> web.Response:
        status = reconciler.health()
        return _json({"status": status}, 503 if status == "stuck" else 200)

    async def live(request: web.Request) -> web.Response:
        return _json({"status": "live"})

    @web.middleware
    async def gated(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await gate.admitted(request)
        except Problem as problem:
            response = _json({"error": str(problem), "advice": problem.advice}, problem.status)
            response.headers.update(problem.headers)
            return response
        return await handler(request)

    app = web.Application(middlewares=[gated])
    app.on_response_prepare.append(protect)
    routes: tuple[tuple[str, Handler], ...] = (
        ("/metrics", exposition),
        ("/reconciliation.json", found),
        ("/health", health),
        ("/health/ready", health),
        ("/health/live", live),
    )
    app.add_routes([web.get(path, handler) for path, handler in routes])
    return app


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve on host and port, 0 for a free one; returns the runner to clean up, and the port. Raises `Refused`."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise Refused(f"cannot listen on {host}:{port}: {error.strerror}; set STREAM_RECONCILE__PORT") from None
    taken: int = runner.addresses[0][1]
    return runner, taken


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
