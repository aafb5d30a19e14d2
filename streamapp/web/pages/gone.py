"""A worker that left stays named on the pages until an operator marks it as seen."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.errors import StreamError
from streamapp.facts import GoneFacts
from streamapp.topics.registry import GROUPS
from streamapp.web import show
from streamapp.web.entry.audit import SEEN, Audit
from streamapp.web.entry.identity import Asker
from streamapp.web.pages.page import Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page


async def marked(site: Site, audit: Audit, asker: Asker, form: Mapping[str, str]) -> Page:
    """`/act` posted with `do=seen`: every worker of the group remembers that somebody knows; without a `worker`, of all
    that are named. Raises `Problem` 404 when no such worker is named, 503 when the act cannot be kept in audit_log, or
    when nobody says that it remembers it."""
    group, url = form.get("group", ""), form.get("worker", "")
    if group not in {one.name for one in GROUPS}:
        raise Problem(404, f"No group is called {show.visible(group)}", "Start from the overview.")
    site = await site.at(group)
    named = [one for one in (await site.group()).gone if url in ("", one.url)]
    if not named:
        advice = "It is in the group again, or somebody has marked it before."
        raise Problem(404, f"No such worker of {group} is named", f"{advice} See {show.group_url(group)}")
    for one in named:
        await _marked(site, audit, asker, group, one)
    await site.fleets.again(group)
    back = Problem(303, "Marked as seen", f"Go on to {show.group_url(group)}")
    twin = {"group": group, "worker": url, "seen": True}
    return Page("problem.html", back.title, {"problem": back}, twin, 303, headers={"Location": show.group_url(group)})


async def _marked(site: Site, audit: Audit, asker: Asker, group: str, one: GoneFacts) -> None:
    facts = {
        "user_id": asker.name or "everybody on this host",
        "application": "stream-pages",
        "action": "seen",
        "group": group,
        "worker": one.url,
        "left_at": show.rfc3339(one.at_ms),
    }
    try:
        await audit.write(None, facts, SEEN)
    except StreamError as error:
        raise Problem(503, "It is not marked as seen", f"The act cannot be kept in audit_log: {error}.") from None
    answers = await site.fleet.ask("seen", {"url": one.url, "at": str(one.at_ms)}, bool, share_ms=0)
    if not any(answer.value for answer in answers if not answer.stale):
        raise Problem(503, "It is not marked as seen", f"No worker of {group} that remembers it answers.")
