"""The pages as routes for the worker's own aiohttp application. Every page is the same on every worker of every group.

`mount(app, view, …)` adds them behind their gate, and ends open streams on shutdown.
What acts is in the table of rights; whatever else is not GET or HEAD is answered 405.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from streamapp.clock import Clock
from streamapp.errors import Unavailable
from streamapp.facts.worker import WorkerView
from streamapp.metrics import OPENMETRICS, TEXT, waiting_letters, wants_openmetrics
from streamapp.web import health, live, render, sitemap, static
from streamapp.web.entry.gate import ASKER, Gate, demand, protect
from streamapp.web.entry.identity import Asker
from streamapp.web.entry.rights import TABLE, may
from streamapp.web.monitor import Handler
from streamapp.web.outside import Outside
from streamapp.web.pages import agents
from streamapp.web.pages import page as pages
from streamapp.web.pages.events.asking import Seeker, of_pages
from streamapp.web.pages.front import extras, front, gone
from streamapp.web.pages.models import latency
from streamapp.web.pages.refused import act, unmask
from streamapp.web.pages.usage import accounts
from streamapp.web.peers import ASKING, WORKER
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers import fleet, fleets, local, wire

log = logging.getLogger(__name__)

GRACE_MS = 300_000
PATH_MAX = 4096

_STATED = {"bills": (front.BILLING, accounts.stated_bytes), "settlements": (sitemap.SETTLING, agents.settled_bytes)}


class Pages:
    """Handlers over one view. Nothing starts before the first request."""

    def __init__(
        self,
        view: WorkerView,
        clock: Clock,
        peer_timeout_s: float,
        grace_ms: int,
        gate: Gate,
        outside: Outside,
    ) -> None:
        self.gate, self.audit = gate, outside.audit
        self.view = view
        self.clock = clock
        self.files = static.Files()
        self.renderer = render.Renderer(clock, self.files, sitemap.PLACES, gate.by_name)
        known = fleets.Fleets(view, clock, peer_timeout_s, outside.standings, gate.sign)
        letters = outside.letters
        asked = extras.Extras(outside, known, clock, peer_timeout_s)
        seeker = Seeker(outside.events, letters, of_pages(known), outside.store, outside.archive)
        self.site = pages.Site(
            known.mine, clock, grace_ms, letters, known, asked, outside.ledger, seeker, outside.acting
        )
        self.live = live.Live(self.parts, clock, allowed=self.allowed)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Any page, as HTML or as its JSON twin."""
        path = request.rel_url.raw_path
        query = dict(reversed(list(request.query.items())))  # the first of a repeated name counts
        demand_page(request[ASKER], path)
        built, as_json = await self._build(path, query)
        if as_json or render.wants_json(request.headers.get("Accept", "")):
            return render.twin(built) if built.is_small else await asyncio.to_thread(render.twin, built)
        where = path + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else "")
        return await asyncio.to_thread(self.renderer.answer, built, where)

    async def allowed(self, request: web.Request, where: str) -> None:
        """Whether whoever asks may follow the page at `where`, now: a token may be taken away while it is open."""
        demand_page(await self.gate.admitted(request), where.partition("?")[0])

    async def parts(self, where: str) -> dict[str, str]:
        """The changing parts of the page at `where`. Raises `Problem` when there is no such page."""
        path, _, text = where.partition("?")
        if len(where) > PATH_MAX:
            raise Problem(400, "That address is too long", "Open the page itself.")
        built, _ = await self._build(path, dict(reversed(parse_qsl(text))))
        return await asyncio.to_thread(self.renderer.live, built, where)

    async def _build(self, path: str, query: dict[str, str]) -> tuple[Page, bool]:
        """A name may itself end in `.json`: the path as it stands is tried first, then without the suffix."""
        problem: Problem | None = None
        nowhere: Page | None = None
        for candidate, _, match, builder in sitemap.matches(path):
            named = {name: unquote(value) for name, value in match.groupdict().items()}
            try:
                built = await builder(self.site, {**query, **named})
            except Problem as error:
                problem = error
                continue
            if built.status != 404:
                return built, candidate != path
            nowhere = built
        if nowhere is not None:  # what was not found, by the name without the suffix
            return nowhere, path.endswith(".json")
        raise problem or _nothing_here()

    async def local(self, request: web.Request) -> web.Response:
        """`/_local/{topic}`: what this worker alone knows, for the other workers."""
        topic = local.ANSWERS.get(request.match_info["topic"])
        if topic is None:
            raise _nothing_here()
        demand(request[ASKER], topic.least)
        try:
            value = await topic.answer(self.view, dict(request.query))
        except ValueError as error:
            raise Problem(400, "The question is not understood", str(error)) from None
        headers = {fleet.WORKER_HEADER: fleet.header_name(self.view.worker().name)}
        body = await asyncio.to_thread(wire.encode, value)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def unmask(self, request: web.Request) -> web.Response:
        """`/letters/{id}/unmask`, posted: one value as it is."""
        params, form = {"id": unquote(request.rel_url.raw_path.split("/")[2])}, await _form(request)
        return await self._acted(request, await unmask.unmasked(self.site, self.audit, request[ASKER], params, form))

    async def act(self, request: web.Request) -> web.Response:
        """`/act`, posted: dead letters sent again or dropped, or the plan of it; a worker that left marked as seen."""
        form = await _form(request)
        deed = gone.marked if form.get("do") == "seen" else act.acted
        return await self._acted(request, await deed(self.site, self.audit, request[ASKER], form))

    async def _acted(self, request: web.Request, built: Page) -> web.Response:
        if render.wants_json(request.headers.get("Accept", "")):
            return render.twin(built)
        return await asyncio.to_thread(self.renderer.answer, built, request.rel_url.raw_path)

    async def health(self, request: web.Request) -> web.Response:
        """`/health`: 200 while this worker does its work, 503 when a partition of it stands still or a topic that it
        needs is missing; a viewer is told more than the status. `/health/ready`: 503 also until it has joined its
        group, and while partitions are taken over."""
        ready = request.rel_url.raw_path == "/health/ready"
        body, status = health.of(self.view.worker(), self.clock(), may(request[ASKER].roles, "monitor"), ready)
        return web.Response(body=wire.json_bytes(body), status=status, content_type="application/json")

    def monitored(self) -> dict[str, Handler]:
        """Path → handler of what may have a port of its own."""
        return {
            "/metrics": self.metrics,
            "/health": self.health,
            "/health/ready": self.health,
            "/health/live": self.health_live,
        }

    async def health_live(self, request: web.Request) -> web.Response:
        """`/health/live`: 200 while the process runs and answers."""
        return web.Response(body=b'{"status":"live"}', content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """`/metrics`: Prometheus text; with a table of calls, the quantiles of the fleet behind it."""
        ASKING.set(WORKER)  # Prometheus may see the sums, and none of what they are made of
        openmetrics = wants_openmetrics(request.headers.get("Accept", ""))
        tables, more = self.view.tables(), b""
        if latency.TABLE in tables:
            more += await latency.gauges(self.site, openmetrics)
        waiting = await self.site.extras.waiting.get() if extras.LETTERS in tables else None
        if waiting is not None and waiting.value is not None and not waiting.problem and self.view.worker().partitions:
            found = waiting.value
            oldest_s = None if found.oldest_ms is None else max(0, self.clock() - found.oldest_ms) / 1000
            more += waiting_letters(oldest_s, found.count, found.redriven, openmetrics)
        headers = {"Content-Type": OPENMETRICS if openmetrics else TEXT}
        return web.Response(body=self.view.metrics(openmetrics, more), headers=headers)

    async def statement(self, request: web.Request) -> web.Response:
        """`/bills/{id}/statement`, `/settlements/{id}/statement`: the stated bytes, nothing else."""
        asked_id = request.rel_url.raw_path.split("/")[2]
        group, exact = _STATED[request.path.split("/")[1]]
        body = await exact(await self.site.at(group), {"id": unquote(asked_id)})
        return web.Response(body=body, content_type="application/json")

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """An address that was cut leads to the list; with a query it is its page, if there is one."""
        path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
        if query and sitemap.matches(path):  # of names that no path can carry
            return await self.page(request)
        return web.Response(status=302, headers={"Location": sitemap.LISTS[path]})

    async def moved(self, request: web.Request) -> web.Response:
        """`/hours`: where usage was before."""
        where = "/usage" + request.rel_url.raw_path_qs.removeprefix("/hours")
        return web.Response(status=301, headers={"Location": where})

    async def table(self, request: web.Request) -> web.Response:
        """`/usage.csv`: what `/usage` lists for the same query."""
        query = dict(reversed(list(request.query.items())))
        built, _ = await self._build("/usage", query)
        return await asyncio.to_thread(render.csv_table, built, "usage.csv")

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        """Whatever nobody else answers."""
        if request.method not in {"GET", "HEAD"}:
            raise Problem(405, "These pages are read-only", "Ask with GET.")
        raise _nothing_here()

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Through the gate to the handler. Errors become designed pages, or JSON for those who ask for it."""
        try:
            request[ASKER] = await self.gate.admitted(request)
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

    def _problem(self, request: web.Request, problem: Problem) -> web.Response:
        facts = {"status": problem.status, "error": problem.title, "advice": problem.advice}
        headers = {503: {"Retry-After": "5"}, 405: {"Allow": "GET, HEAD"}}.get(problem.status, {}) | problem.headers
        page = Page("problem.html", problem.title, {"problem": problem}, facts, problem.status, headers=headers)
        path = request.rel_url.raw_path
        for_machines = path.endswith(".json") or path.startswith("/_local/")
        if for_machines or render.wants_json(request.headers.get("Accept", "")):
            return render.twin(page)
        return self.renderer.answer(page, "/")


async def _form(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _nothing_here() -> Problem:
    return Problem(404, "There is no page here", "Start from the overview, or look for a name or an id.")


def demand_page(asker: Asker, path: str) -> None:
    """Raises `Problem` 403 unless whoever asks may see every page that this path can mean."""
    for _, pattern, _, _ in sitemap.matches(path):
        demand(asker, TABLE[sitemap.canonical(pattern)].least)


def _table(site: Pages) -> list[web.RouteDef]:
    return [
        *(web.get(path, site.listed) for path in sitemap.LISTS),
        *(web.get(path, site.page) for path, _, _ in sitemap.PAGES if path not in sitemap.LISTS),
        *(web.get(path, site.page) for path in sitemap.TWINS),
        web.get("/hours", site.moved),
        web.get("/hours.json", site.moved),
        web.get("/usage.csv", site.table),
        web.get("/bills/{id:[^/]+}/statement", site.statement),
        web.get("/settlements/{id:[^/]+}/statement", site.statement),
        web.post("/act", site.act),
        web.post("/letters/{id:[^/]+}/unmask", site.unmask),
        web.get("/live", site.live.serve),
        web.get("/static/{name}", site.files.serve),
        *(web.get(path, handler) for path, handler in site.monitored().items()),
        web.get("/_local/{topic}", site.local),
        web.route("*", "/{rest:.*}", site.nothing),  # last: whoever registered before or deeper wins
    ]


def mount(
    app: web.Application,
    view: WorkerView,
    *,
    clock: Clock,
    peer_timeout_s: float,
    gate: Gate,
    grace_ms: int = GRACE_MS,
    outside: Outside | None = None,
) -> Pages:
    """Add the pages to an application that has not started; its shutdown then does not wait for open pages. The gate
    stands before every route of the application, also before those that others added."""
    site = Pages(view, clock, peer_timeout_s, grace_ms, gate, outside or Outside())
    app.add_routes(_table(site))

    @web.middleware
    async def gated(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await site.answer(request, handler)

    async def stop(_: web.Application) -> None:
        site.live.stop()
        await site.audit.close()

    app.middlewares.append(gated)
    app.on_response_prepare.append(protect)
    app.on_shutdown.append(stop)
    return site
