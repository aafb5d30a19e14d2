"""A worker that left stays named on the pages until an operator marks it as seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from streamapp.errors import StreamError
from streamapp.facts.worker import GoneFacts
from streamapp.topics.registry import GROUPS
from streamapp.web import show
from streamapp.web.entry.audit import SEEN, Audit
from streamapp.web.entry.identity import Asker
from streamapp.web.pages.page import Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page


async def marked(site: Site, audit: Audit, asker: Asker, form: Mapping[str, str]) -> Page:
    """`/act` posted with `do=seen`: every worker of the group remembers that somebody knows of `worker`, or, with
    `all=1`, of all that left until `at_ms`: who leaves after the page was made was seen by nobody. Raises `Problem` 404
    when no such worker is named, 400 for an `at_ms` that is no number, 503 when the act cannot be kept in audit_log, or
    when nobody says that it remembers it; those that could be marked are."""
    group = form.get("group", "")
    if group not in {one.name for one in GROUPS}:
        raise Problem(404, f"No group is called {show.visible(group)}", "Start from the overview.")
    site = await site.at(group)
    named = _named(form, (await site.group()).gone)
    if not named:
        advice = "It is in the group again, or somebody has marked it before."
        raise Problem(404, f"No such worker of {group} is named", f"{advice} See {show.group_url(group)}")
    try:
        problems = await asyncio.gather(*(_marked(site, audit, asker, group, one) for one in named))
    finally:
        await site.fleets.again(group)
    if any(problems):
        raise _not_all(named, problems)
    back = Problem(303, "Marked as seen", f"Go on to {show.group_url(group)}")
    twin = {"group": group, "workers": [one.url for one in named], "seen": True}
    return Page("problem.html", back.title, {"problem": back}, twin, 303, headers={"Location": show.group_url(group)})


def _named(form: Mapping[str, str], gone: Sequence[GoneFacts]) -> list[GoneFacts]:
    if form.get("all") != "1":
        return [one for one in gone if one.url == form.get("worker")]
    try:
        until_ms = int(form.get("at_ms", ""))
    except ValueError:
        raise Problem(400, "Nobody is marked as seen", "With `all`, `at_ms` says until when.") from None
    return [one for one in gone if one.at_ms <= until_ms]


def _not_all(named: Sequence[GoneFacts], problems: Sequence[str]) -> Problem:
    """Which ones are not marked, and why."""
    failed = [(one.url, problem) for one, problem in zip(named, problems, strict=True) if problem]
    if len(named) == 1:
        return Problem(503, "It is not marked as seen", problems[0])
    title = f"{len(named) - len(failed)} of {len(named)} are marked as seen"
    whose: dict[str, list[str]] = {}
    for url, problem in failed:
        whose.setdefault(problem, []).append(show.address(url))
    return Problem(503, title, " ".join(f"Not {', '.join(urls)}: {problem}" for problem, urls in whose.items()))


async def _marked(site: Site, audit: Audit, asker: Asker, group: str, one: GoneFacts) -> str:
    """Empty, or why it is not."""
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
        return f"The act cannot be kept in audit_log: {error}."
    answers = await site.fleet.ask("seen", {"url": one.url, "at": str(one.at_ms)}, bool, share_ms=0)
    if not any(answer.value for answer in answers if not answer.stale):
        return f"No worker of {group} that remembers it answers."
    return ""
