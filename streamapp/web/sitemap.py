"""Every page: its address, what builds it, and what the head of each page links to. A page of one group is served by
every worker."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps

from streamapp.web.pages import accounts, agents, front, raw, schemas
from streamapp.web.pages import page as pages
from streamapp.web.pages.events import look, search
from streamapp.web.pages.models import latency
from streamapp.web.pages.refused import act, incidents, letters, unmask
from streamapp.web.pages.usage import budgets, org, usage
from streamapp.web.render import Page

Builder = Callable[[pages.Site, dict[str, str]], Awaitable[Page]]

SETTLING = "rpc-billing"


def _of(name: str, builder: Builder) -> Builder:
    """A page of one group, served by every worker."""

    @wraps(builder)
    async def build(site: pages.Site, params: dict[str, str]) -> Page:
        return await builder(await site.at(name), params)

    return build


PAGES: tuple[tuple[str, str, Builder], ...] = (
    # aiohttp's pattern             the same over the quoted path           builder
    ("/", r"/(?:index)?", front.front),
    ("/groups/{group:[^/]+}", r"/groups/(?P<group>[^/]+)", front.one_group),
    ("/charts", r"/charts", front.charts_page),
    ("/usage", r"/usage", _of(front.BILLING, usage.usage_page)),
    ("/orgs", r"/orgs", _of(front.BILLING, org.org_page)),
    ("/orgs/{org:[^/]+}", r"/orgs/(?P<org>[^/]+)", _of(front.BILLING, org.org_page)),
    ("/teams", r"/teams", _of(front.BILLING, accounts.team)),
    (
        "/teams/{org:[^/]+}/{team:[^/]+}",
        r"/teams/(?P<org>[^/]+)/(?P<team>[^/]+)",
        _of(front.BILLING, accounts.team),
    ),
    ("/budgets", r"/budgets", _of(front.BILLING, budgets.budgets)),
    (
        "/budgets/{org:[^/]+}/{team:[^/]+}",
        r"/budgets/(?P<org>[^/]+)/(?P<team>[^/]+)",
        _of(front.BILLING, budgets.budget),
    ),
    ("/agents", r"/agents", _of(SETTLING, agents.agents_page)),
    ("/agent", r"/agent", _of(SETTLING, agents.agent_page)),
    (
        "/agents/{org:[^/]+}/{agent:[^/]+}",
        r"/agents/(?P<org>[^/]+)/(?P<agent>[^/]+)",
        _of(SETTLING, agents.agent_page),
    ),
    ("/settlements/{id:[^/]+}", r"/settlements/(?P<id>[^/]+)", _of(SETTLING, agents.settlement_page)),
    ("/bills/{id:[^/]+}", r"/bills/(?P<id>[^/]+)", _of(front.BILLING, accounts.statement)),
    ("/bills/{id:[^/]+}/calls", r"/bills/(?P<id>[^/]+)/calls", _of(front.BILLING, look.calls_of_bill)),
    ("/settlements/{id:[^/]+}/calls", r"/settlements/(?P<id>[^/]+)/calls", _of(SETTLING, look.calls_of_settlement)),
    ("/events", r"/events", look.events),
    ("/events/{id:[^/]+}", r"/events/(?P<id>[^/]+)", look.event),
    ("/search", r"/search", search.search),
    ("/incidents", r"/incidents", incidents.incidents),
    ("/letters", r"/letters", letters.letters),
    ("/act", r"/act", act.act),
    ("/letters/{id:[^/]+}", r"/letters/(?P<id>[^/]+)", letters.letter),
    ("/letters/{id:[^/]+}/unmask", r"/letters/(?P<id>[^/]+)/unmask", unmask.unmask),
    ("/latency", r"/latency", _of("llm-metrics", latency.latency)),
    ("/schemas", r"/schemas", schemas.schemas),
    ("/schemas/{type:[^/]+}", r"/schemas/(?P<type>[^/]+)", schemas.schema),
    ("/tables", r"/tables", raw.tables),
    ("/tables/{name:[^/]+}", r"/tables/(?P<name>[^/]+)", raw.table),
    ("/tables/{name:[^/]+}/hours", r"/tables/(?P<name>[^/]+)/hours", raw.hours),
)
PLACES: tuple[tuple[str, str, str], ...] = (
    # `Page.place`  where      word
    ("overview", "/", "Overview"),
    ("usage", "/usage", "Usage"),
    ("budgets", "/budgets", "Budgets"),
    ("agents", "/agents", "Agents"),
    ("events", "/events", "Events"),
    ("latency", "/latency", "Latency"),
    ("letters", "/letters", "Dead letters"),
    ("tables", "/tables", "Tables"),
)
"""What the head of every page links to. Eight short words fit a telephone."""
LISTS: Mapping[str, str] = {
    "/orgs": "/usage?by=org",
    "/teams": "/usage?by=team",
    "/agent": "/agents",
    "/bills": "/usage?state=closed",
    "/settlements": "/agents",
    "/groups": "/",
}
"""An address that was cut, and what lists its kind."""

_COMPILED = tuple((path, re.compile(pattern), builder) for path, pattern, builder in PAGES)


def matches(path: str) -> list[tuple[str, str, re.Match[str], Builder]]:
    """The pages that a path may mean: it, aiohttp's pattern, the match, the builder. A name may itself end in `.json`:
    the path as it stands comes first, then without the suffix."""
    return [
        (candidate, pattern, match, builder)
        for candidate in dict.fromkeys((path, path.removesuffix(".json")))
        for pattern, compiled, builder in _COMPILED
        if (match := compiled.fullmatch(candidate))
    ]


def canonical(pattern: str) -> str:
    """aiohttp's pattern as the table of rights has it: /bills/{id:[^/]+} → /bills/{id}"""
    return re.sub(r":[^{}]+\}", "}", pattern)


TWINS = (
    "/index.json",
    "/charts.json",
    "/usage.json",
    "/orgs.json",
    "/teams.json",
    "/budgets.json",
    "/events.json",
    "/search.json",
    "/incidents.json",
    "/letters.json",
    "/latency.json",
    "/agents.json",
    "/agent.json",
    "/schemas.json",
    "/tables.json",
    "/bills/{id:[^/]+}/calls.json",
    "/settlements/{id:[^/]+}/calls.json",
    "/tables/{name:[^/]+}/hours.json",
)
"""The JSON twins of lists, by name; `.json` behind any other page's address gives its own."""
