"""Server-sent events: about once a second the parts of a page that look different from what was sent before.

A page that is dear to render is rendered less often: at most a tenth of the time goes into it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from streamapp.clock import Clock
from streamapp.web.problem import Problem
from streamapp.web.render import fingerprint

CLIENTS_MAX = 32  # every open page costs this worker a rendering per second; the stream comes first
BEAT_S = 1.0
QUIET_BEATS = 15  # then a comment, so that a dead connection is noticed
SHARE_OF_TIME = 10  # a rendering that took t is good for ten t
LIFE_BEATS = 600  # browsers come back by themselves; nothing lives for ever
SHARED_MAX = 128

Parts = Callable[[str], Awaitable[dict[str, str]]]
Allowed = Callable[[web.Request, str], Awaitable[None]]


async def everybody(request: web.Request, page: str) -> None:
    """For pages that everybody may see."""


class Live:
    """All open streams of this worker. `parts` renders the changing parts of the page at a path, by element id; they
    are shared by all who follow it. `allowed` raises `Problem` for somebody who may not, or no longer."""

    def __init__(self, parts: Parts, clock: Clock, allowed: Allowed = everybody) -> None:
        self._parts, self._allowed = parts, allowed
        self._clock = clock
        self._stopping = asyncio.Event()
        self._shared: OrderedDict[str, tuple[int, asyncio.Task[tuple[dict[str, str], float]]]] = OrderedDict()
        self.clients = 0

    def stop(self) -> None:
        """End every stream, so that the server can close."""
        self._stopping.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`/live?page=<path of a page>`; 503 when too many pages are open. With `&once=1` the parts as they are now,
        as JSON by element id, and 304 while they are those of `If-None-Match`.

        `&since=<ms>` says when the page itself was made: what was rendered for others before that would take it back.

        A browser has six connections to a host, and a stream holds one for as long as its page is open: so app.js
        streams for at most three pages, and asks again and again for the others.
        """
        await self._allowed(request, request.query.get("page", "/"))
        if request.query.get("once"):
            return await self._once(request)
        if self.clients >= CLIENTS_MAX or self._stopping.is_set():
            raise Problem(503, "Too many pages are open", "This page stays as it is; reload it to see what is new.")
        page, since_ms = _asked(request)
        first = await self._rendered(page, since_ms)
        response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        self.clients += 1
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            await self._stream(request, response, page, first)
        except ConnectionError:
            pass  # the reader left
        finally:
            self.clients -= 1
        return response

    async def _once(self, request: web.Request) -> web.Response:
        body = orjson.dumps(_safe(await self._rendered(*_asked(request))))
        tag = f'"{fingerprint(body.decode()).hex()}"'
        headers = {"ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, page: str, parts: dict[str, str]
    ) -> None:
        sent: dict[str, bytes] = {}
        quiet = 0
        for _ in range(LIFE_BEATS):
            changed = {name: html for name, html in parts.items() if sent.get(name) != fingerprint(html)}
            if changed:
                sent.update((name, fingerprint(html)) for name, html in changed.items())
                await response.write(b"event: parts\ndata: " + orjson.dumps(_safe(changed)) + b"\n\n")
                quiet = 0
            elif (quiet := quiet + 1) % QUIET_BEATS == 0:
                await response.write(b": quiet\n\n")
            if await self._stopped() or request.transport is None or request.transport.is_closing():
                return
            try:
                await self._allowed(request, page)
                parts = await self._rendered(page)
            except Problem:
                return  # the browser asks again and is told then

    async def _stopped(self) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), BEAT_S)
        except TimeoutError:
            return False
        return True

    async def _rendered(self, page: str, since_ms: int = 0) -> dict[str, str]:
        made, task = self._shared.get(page, (0, None))
        now = self._clock()
        if task is None or made < min(since_ms, now) or (task.done() and not 0 <= now - made < _good_for_ms(task)):
            task = asyncio.create_task(self._build(page))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._shared[page] = (now, task)
            self._shared.move_to_end(page)
            while len(self._shared) > SHARED_MAX:
                self._shared.popitem(last=False)
        parts, _ = await asyncio.shield(task)
        return parts

    async def _build(self, page: str) -> tuple[dict[str, str], float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        parts = await self._parts(page)
        return parts, loop.time() - begun


def _asked(request: web.Request) -> tuple[str, int]:
    since = request.query.get("since", "")
    return request.query.get("page", "/"), int(since) if since.isascii() and since.isdigit() and len(since) < 16 else 0


def _good_for_ms(task: asyncio.Task[tuple[dict[str, str], float]]) -> float:
    took_s = 0.0 if task.cancelled() or task.exception() else task.result()[1]
    return max(BEAT_S * 900, took_s * 1000 * SHARE_OF_TIME)


def _safe(parts: dict[str, str]) -> dict[str, str]:
    return {name: html.encode("utf-8", "replace").decode() for name, html in parts.items()}
