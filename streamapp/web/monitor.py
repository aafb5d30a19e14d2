"""`/metrics` and `/health` on a port of their own, the same for workers, capture and reconcile.

Nobody is asked for a token there: the network decides who reaches it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiohttp import web

from streamapp.errors import Refused
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import ASKER, MONITOR, protect

PORTS_MAX = 64  # tried from the wanted one on: several processes of one host may have the same setting

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


async def listen_apart(settings: WebSettings, offset: int, pages: Mapping[str, Handler]) -> web.AppRunner | None:
    """Serve these pages on the first free port from `monitor_port` and `offset` on. None: no port is set. Raises
    `Refused` when all are taken."""
    if settings.monitor_port is None:
        return None

    @web.middleware
    async def as_monitor(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ASKER] = MONITOR
        return await handler(request)

    app = web.Application(middlewares=[as_monitor])
    app.on_response_prepare.append(protect)
    app.add_routes([web.get(path, handler) for path, handler in pages.items()])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, first = settings.monitor_host, settings.monitor_port + offset
    for port in range(first, first + PORTS_MAX):
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            continue
        log.info("metrics on http://%s:%d/metrics", host, port)
        return runner
    await runner.cleanup()
    raise Refused(f"no free port from {first} on {host}; set STREAM_WEB__MONITOR_PORT")


def beside(app: web.Application, settings: WebSettings, offset: int, pages: Mapping[str, Handler]) -> None:
    """The same while an application serves."""

    async def apart(_: web.Application) -> AsyncIterator[None]:
        runner = await listen_apart(settings, offset, pages)
        yield
        if runner is not None:
            await runner.cleanup()

    app.cleanup_ctx.append(apart)
