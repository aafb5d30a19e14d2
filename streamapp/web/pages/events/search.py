"""The search box of every page: an id of an event, bill or settlement, a place in the log, a team, an org or an agent.

It looks among what viewers may see; an id that is neither bill nor settlement leads to the page that looks for events.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from streamapp.events.names import TEXT_MAX, moment_of, place_of, uuid_of
from streamapp.web import show
from streamapp.web.lists import agents as agents_list
from streamapp.web.lists import hours
from streamapp.web.pages import agents
from streamapp.web.pages.front.front import BILLING
from streamapp.web.pages.page import Params, Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page

HITS_MAX = 20  # of each kind


class Hit(NamedTuple):
    """Something that was found."""

    kind: str
    name: str
    note: str
    url: str


async def search(site: Site, params: Params) -> Page:
    """`/search?q=`: what has this name or id: an event, a bill, a settlement, a team, an org, an agent."""
    wanted = params.get("q", "").strip()
    if len(wanted) > TEXT_MAX:
        raise Problem(400, "That is too long to look for", f"At most {TEXT_MAX} characters.")
    if place_of(wanted) is not None:
        return _moved(show.event_url(wanted))
    hits: list[Hit] = []
    silent: list[str] = []
    if wanted:
        parts = (_statement, _teams, _agents)
        for found, problem in await asyncio.gather(*(_sure(part(site, wanted)) for part in parts)):
            hits += found
            silent += [problem] if problem else []
    exact = [hit for hit in hits if hit.name == wanted]
    if len(exact) == 1 and exact[0].kind in ("bill", "settlement"):
        return _moved(exact[0].url)
    if not hits and (moment_of(wanted) is not None or uuid_of(wanted) is not None):
        return _moved(show.event_url(wanted))
    context = {
        "wanted": wanted,
        "hits": hits,
        "silent": silent,
        "event_url": show.event_url(wanted) if wanted else "",
        "live_status": 0,
    }
    twin = {"q": wanted, "hits": [hit._asdict() for hit in hits], "not_searched": silent}
    return Page("search.html", "Search", context, twin, place="search")


def _moved(url: str) -> Page:
    context = {"wanted": "", "hits": [], "silent": [], "event_url": url, "live_status": 0}
    return Page("search.html", "Search", context, {"location": url}, 302, headers={"Location": url})


async def _sure(found: Any) -> tuple[list[Hit], str]:
    try:
        return await found, ""
    except Problem as problem:
        return [], problem.title


async def _statement(site: Site, wanted: str) -> list[Hit]:
    """A bill or a settlement with this id."""
    asked = ((BILLING, "bill", show.bill_url), (agents.GROUP, "settlement", show.settlement_url))
    told = await asyncio.gather(
        *(site.fleets.of(group).ask(question, {"id": wanted}, list[str]) for group, question, _ in asked)
    )
    return [
        Hit(question, wanted, "", url(wanted))
        for (_, question, url), answers in zip(asked, told, strict=True)
        if any(answer.value for answer in answers)
    ]


async def _teams(site: Site, wanted: str) -> list[Hit]:
    at = await site.at(BILLING)
    answers = await at.fleet.ask("names", {"text": wanted}, list[hours.Named])
    found = sorted({name for answer in answers for name in answer.value or []}, key=hours.newest_first)
    text, hits = wanted.casefold(), list[Hit]()
    for one in found:
        if text in one.team.casefold():
            hits.append(Hit("team", one.team, one.org, show.team_url(one.org, one.team)))
        if text in one.org.casefold():
            hits.append(Hit("org", one.org, "", show.org_url(one.org)))
    return list(dict.fromkeys(hits))[: 2 * HITS_MAX]


async def _agents(site: Site, wanted: str) -> list[Hit]:
    at = await site.at(agents.GROUP)
    answers = await at.fleet.ask("agents", {"agent": wanted}, agents_list.AgentsSlice)
    rows = [row for answer in answers if answer.value is not None for row in answer.value.rows]
    made = [Hit("agent", row.agent, row.org, show.agent_url(row.org, row.agent)) for row in rows]
    return list(dict.fromkeys(made))[:HITS_MAX]
