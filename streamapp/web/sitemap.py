"""Every page: its address, what builds it, and what the head of each page links to. A page of one group is served by
every worker."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps

from streamapp.web.pages import agents, raw, schemas
from streamapp.web.pages import page as pages
from streamapp.web.pages.events import look, search
from streamapp.web.pages.front import front
from streamapp.web.pages.models import latency
from streamapp.web.pages.refused import act, incidents, letters, unmask
from streamapp.web.pages.usage import accounts, budgets, org, usage
from streamapp.web.render import Page

Builder = Callable[[pages.Site, dict[str, str]], Awaitable[Page]]

SETTLING = "rpc-billing"


def _of(name: str, builder: Builder) -> Builder:
    """A page of one group, served by every worker."""

    @wraps(builder)
    async def build(site: pages.Site, params: dict[str, str]) -> Page:
        return await builder(await site.at(name), params)

    return build


def _quoted(path: str) -> re.Pattern[str]:
    """/bills/{id} → the regular expression of the quoted path. The front page has a name, for its twin."""
    return re.compile(r"/(?:index)?" if path == "/" else re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


_PAGES: tuple[tuple[str, Builder], ...] = (
    ("/", front.front),
    ("/groups/{group}", front.one_group),
    ("/charts", front.charts_page),
    ("/usage", _of(front.BILLING, usage.usage_page)),
    ("/orgs", _of(front.BILLING, org.org_page)),
    ("/orgs/{org}", _of(front.BILLING, org.org_page)),
    ("/teams", _of(front.BILLING, accounts.team)),
    ("/teams/{org}/{team}", _of(front.BILLING, accounts.team)),
    ("/budgets", _of(front.BILLING, budgets.budgets)),
    ("/budgets/{org}/{team}", _of(front.BILLING, budgets.budget)),
    ("/agents", _of(SETTLING, agents.agents_page)),
    ("/agent", _of(SETTLING, agents.agent_page)),
    ("/agents/{org}/{agent}", _of(SETTLING, agents.agent_page)),
    ("/settlements/{id}", _of(SETTLING, agents.settlement_page)),
    ("/bills/{id}", _of(front.BILLING, accounts.statement)),
    ("/bills/{id}/calls", _of(front.BILLING, look.calls_of_bill)),
    ("/settlements/{id}/calls", _of(SETTLING, look.calls_of_settlement)),
    ("/events", look.events),
    ("/events/{id}", look.event),
    ("/search", search.search),
    ("/incidents", incidents.incidents),
    ("/letters", letters.letters),
    ("/act", act.act),
    ("/letters/{id}", letters.letter),
    ("/letters/{id}/unmask", unmask.unmask),
    ("/latency", _of("llm-metrics", latency.latency)),
    ("/schemas", schemas.schemas),
    ("/schemas/{type}", schemas.schema),
    ("/tables", raw.tables),
    ("/tables/{name}", raw.table),
    ("/tables/{name}/hours", raw.hours),
)
PAGES: tuple[tuple[str, re.Pattern[str], Builder], ...] = tuple(
    (path.replace("}", ":[^/]+}"), _quoted(path), builder) for path, builder in _PAGES
)
"""aiohttp's pattern, the same over the quoted path, what builds the page."""

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
"""An address that was cut, and what lists its kind. With `.json` behind, it leads nowhere."""


def matches(path: str) -> list[tuple[str, str, re.Match[str], Builder]]:
    """The pages that a path may mean: it, aiohttp's pattern, the match, the builder. A name may itself end in `.json`:
    the path as it stands comes first, then without the suffix."""
    return [
        (candidate, pattern, match, builder)
        for candidate in dict.fromkeys((path, path.removesuffix(".json")))
        for pattern, quoted, builder in PAGES
        if (match := quoted.fullmatch(candidate))
    ]


def canonical(pattern: str) -> str:
    """aiohttp's pattern as the table of rights has it: /bills/{id:[^/]+} → /bills/{id}"""
    return re.sub(r":[^{}]+\}", "}", pattern)


WITHOUT_TWIN = ("/", "/act", "/letters/{id}/unmask")  # the front page's is by its name; the others are forms
TWINS = (
    "/index.json",
    *(f"{pattern}.json" for pattern, _, _ in PAGES if pattern[-1] != "}" and canonical(pattern) not in WITHOUT_TWIN),
)
"""The JSON twins of lists, by name; `.json` behind any other page's address gives its own."""
