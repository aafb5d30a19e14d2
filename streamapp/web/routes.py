"""The pages as routes for the worker's own aiohttp application. Every page is the same on every worker of every group.

`mount(app, view, …)` adds them and ends open streams on shutdown; `routes(view, …)` is the bare list.
Everything is read-only: whatever is not GET or HEAD is answered 405.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from streamapp.clock import Clock
from streamapp.dead_letters.recent import Letters, NoLetters
from streamapp.errors import Unavailable
from streamapp.watch.standing import NoStandings, Standings
from streamapp.web import live, render, sitemap, static
from streamapp.web.pages import accounts, agents, extras, front, latency
from streamapp.web.pages import page as pages
from streamapp.web.pages.reconciliation import NoReconciliation, Reconciliation
from streamapp.web.render import Page, Problem
from streamapp.web.workers import fleet, fleets, group, local, wire
from streamapp.web.workers.source import WorkerView

log = logging.getLogger(__name__)

GRACE_MS = 300_000
PATH_MAX = 4096

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """Handlers over one view. Nothing starts before the first request."""

    def __init__(
        self,
        view: WorkerView,
        clock: Clock,
        peer_timeout_s: float,
        grace_ms: int,
        letters: Letters,
        reconciliation: Reconciliation,
        standings: Standings,
        capture_url: str,
    ) -> None:
        self.view = view
        self.clock = clock
        self.files = static.Files()
        self.renderer = render.Renderer(clock, self.files, sitemap.PLACES)
        known = fleets.Fleets(view, clock, peer_timeout_s, standings)
        asked = extras.Extras(letters, known, clock, peer_timeout_s, capture_url, reconciliation)
        self.site = pages.Site(known.mine, clock, grace_ms, letters, known, asked)
        self.live = live.Live(self.parts, clock)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Any page, as HTML or as its JSON twin."""
        path = request.rel_url.raw_path
        query = dict(reversed(list(request.query.items())))  # the first of a repeated name counts
        built, as_json = await self._build(path, query)
        if as_json or render.wants_json(request.headers.get("Accept", "")):
            return await asyncio.to_thread(render.twin, built)
        where = path + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else "")
        return await asyncio.to_thread(self.renderer.answer, built, where)

    async def parts(self, where: str) -> dict[str, str]:
        """The changing parts of the page at `where`. Raises `Problem` when there is no such page."""
        path, _, text = where.partition("?")
        if len(where) > PATH_MAX:
            raise Problem(400, "That address is too long", "Open the page itself.")
        built, _ = await self._build(path, dict(reversed(parse_qsl(text))))
        return await asyncio.to_thread(self.renderer.live, built, where)

    async def _build(self, path: str, query: dict[str, str]) -> tuple[Page, bool]:
        """A name may itself end in `.json`: the path as it stands is tried first, then without the suffix."""
        bare = path.removesuffix(".json")
        problem: Problem | None = None
        for candidate in dict.fromkeys((path, bare)):
            for pattern, builder in sitemap.COMPILED:
                if match := pattern.fullmatch(candidate):
                    named = {name: unquote(value) for name, value in match.groupdict().items()}
                    try:
                        return await builder(self.site, {**query, **named}), candidate != path
                    except Problem as error:
                        problem = error
        raise problem or _nothing_here()

    async def local(self, request: web.Request) -> web.Response:
        """`/_local/{topic}`: what this worker alone knows, for the other workers."""
        answer = local.ANSWERS.get(request.match_info["topic"])
        if answer is None:
            raise _nothing_here()
        try:
            value = await answer(self.view, dict(request.query))
        except ValueError as error:
            raise Problem(400, "The question is not understood", str(error)) from None
        headers = {fleet.WORKER_HEADER: fleet.header_name(self.view.worker().name), "Cache-Control": "no-store"}
        body = await asyncio.to_thread(wire.encode, value)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def health(self, request: web.Request) -> web.Response:
        """`/health`: 200 while this worker does its work, 503 when a partition of it stands still or a
        topic that it needs is missing."""
        facts, now = self.view.worker(), self.clock()
        stuck = [p.partition for p in facts.partitions if group.stuck(p, now)]
        moving = [p.partition for p in facts.partitions if p.state in {"taking over", "restoring"}]
        absent = facts.missing_topics
        state = (
            "topics missing"
            if absent
            else "stuck"
            if stuck
            else "starting"
            if moving
            else "ok"
            if facts.partitions
            else "standby"
        )
        body = {
            "status": state,
            "group": facts.group,
            "worker": facts.name,
            "started_ms": facts.started_ms,
            "partitions": len(facts.partitions),
            "stuck": stuck,
            "starting": moving,
            "missing_topics": absent,
            "lag": sum(p.lag for p in facts.partitions),
        }
        return web.Response(
            body=wire.json_bytes(body),
            status=503 if stuck or absent else 200,
            content_type="application/json",
            headers=render.HEADERS,
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """`/metrics`: Prometheus text; with a table of calls, the quantiles of the fleet behind it."""
        body = self.view.metrics()
        if latency.TABLE in self.view.tables():
            body += await latency.gauges(self.site)
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Cache-Control": "no-store"}
        return web.Response(body=body, headers=headers)

    async def statement(self, request: web.Request) -> web.Response:
        """`/bills/{id}/statement`: the stated bytes, nothing else."""
        bill_id = unquote(request.rel_url.raw_path.split("/")[2])
        body = await accounts.stated_bytes(await self.site.at(front.BILLING), {"id": bill_id})
        return web.Response(body=body, content_type="application/json", headers=render.HEADERS)

    async def settlement(self, request: web.Request) -> web.Response:
        """`/settlements/{id}/statement`: the stated bytes, nothing else."""
        body = await agents.settled_bytes(
            await self.site.at(sitemap.SETTLING), {"id": unquote(request.rel_url.raw_path.split("/")[2])}
        )
        return web.Response(body=body, content_type="application/json", headers=render.HEADERS)

    async def bills(self, request: web.Request) -> web.Response:
        """`/bills`: the closed hours are the list of bills."""
        return web.Response(status=302, headers={**render.HEADERS, "Location": "/hours?state=closed"})

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        """Whatever nobody else answers."""
        if request.method not in {"GET", "HEAD"}:
            raise Problem(405, "These pages are read-only", "Ask with GET.")
        raise _nothing_here()

    def guarded(self, handler: Handler) -> Handler:
        """Errors become designed pages, or JSON for those who ask for it."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Problem as problem:
                return self._problem(request, problem)
            except web.HTTPException as error:
                return self._problem(request, Problem(error.status, error.reason, "Go back to the overview."))
            except Unavailable as error:
                return self._problem(request, Problem(503, "Something does not answer", str(error)))
            except Exception:
                log.exception("page %s failed", request.rel_url.raw_path)
                advice = "The stream goes on: pages only read. The worker's log says what happened."
                return self._problem(request, Problem(500, "This page failed", advice))

        return answer

    def _problem(self, request: web.Request, problem: Problem) -> web.Response:
        facts = {"status": problem.status, "error": problem.title, "advice": problem.advice}
        headers = (
            {"Retry-After": "5"} if problem.status == 503 else {"Allow": "GET, HEAD"} if problem.status == 405 else {}
        )
        page = Page("problem.html", problem.title, {"problem": problem}, facts, problem.status, headers=headers)
        path = request.rel_url.raw_path
        for_machines = path.endswith(".json") or path.startswith("/_local/")
        if for_machines or render.wants_json(request.headers.get("Accept", "")):
            return render.twin(page)
        return self.renderer.answer(page, "/")


def _nothing_here() -> Problem:
    return Problem(404, "There is no page here", "Start from the overview, or look for a team in the list of hours.")


def _table(site: Pages) -> list[web.RouteDef]:
    def get(path: str, handler: Handler) -> web.RouteDef:
        return web.get(path, site.guarded(handler))

    return [
        *(get(path, site.page) for path, _, _ in sitemap.PAGES),
        *(get(path, site.page) for path in sitemap.TWINS),
        get("/bills", site.bills),
        get("/bills/{id:[^/]+}/statement", site.statement),
        get("/settlements/{id:[^/]+}/statement", site.settlement),
        get("/events", site.live.serve),
        get("/static/{name}", site.files.serve),
        get("/health", site.health),
        get("/metrics", site.metrics),
        get("/_local/{topic}", site.local),
        web.route("*", "/{rest:.*}", site.guarded(site.nothing)),  # last: whoever registered before or deeper wins
    ]


def routes(
    view: WorkerView,
    *,
    clock: Clock,
    peer_timeout_s: float,
    grace_ms: int = GRACE_MS,
    letters: Letters | None = None,
    reconciliation: Reconciliation | None = None,
    standings: Standings | None = None,
    capture_url: str = "",
) -> list[web.RouteDef]:
    """Every page and endpoint over `view`. A caller that can should `mount` instead."""
    asked = letters or NoLetters(), reconciliation or NoReconciliation(), standings or NoStandings(), capture_url
    return _table(Pages(view, clock, peer_timeout_s, grace_ms, *asked))


def mount(
    app: web.Application,
    view: WorkerView,
    *,
    clock: Clock,
    peer_timeout_s: float,
    grace_ms: int = GRACE_MS,
    letters: Letters | None = None,
    reconciliation: Reconciliation | None = None,
    standings: Standings | None = None,
    capture_url: str = "",
) -> Pages:
    """Add the pages to an application that has not started; its shutdown then does not wait for open pages."""
    asked = letters or NoLetters(), reconciliation or NoReconciliation(), standings or NoStandings(), capture_url
    site = Pages(view, clock, peer_timeout_s, grace_ms, *asked)
    app.add_routes(_table(site))

    async def stop(_: web.Application) -> None:
        site.live.stop()

    app.on_shutdown.append(stop)
    return site
