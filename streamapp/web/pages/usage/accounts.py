"""The pages of one team and of one bill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from streamapp.facts.worker import TeamFacts
from streamapp.web import show
from streamapp.web.pages import chart
from streamapp.web.pages.page import FIRST_EVENT, Notices, Params, Site, notices
from streamapp.web.pages.usage import bill
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers import group, wire
from streamapp.web.workers.fleet import Answer

LEDGER = "the ledger"
TEAM_HOURS_MAX = 24  # a day in the table; the chart has the month, `/usage` has all


def best(answers: list[Answer[list[Any]]]) -> Answer[list[Any]] | None:
    """Who knows it: an answering worker before a silent one, then the one that knows most."""
    known = [answer for answer in answers if answer.value]
    return max(known, key=lambda answer: (not answer.stale, len(answer.value or [])), default=None)


def known(
    answers: list[Answer[list[Any]]], whole: group.Group, what: str, advice: str
) -> tuple[Answer[Any], list[Any]]:
    """The same with what it says. Raises `Problem` when nobody who answers knows it."""
    found = best(answers)
    if found is None:
        raise unknown(what, advice, whole)
    return found, found.value or []


def said_by(found: Answer[Any], whole: group.Group | None, answers: Sequence[Answer[Any]] = ()) -> dict[str, Any]:
    """What a page says of the worker that it has its facts from, and of silent ones. `whole`: None if it has no need to
    ask who is silent."""
    silent = Notices((), ()) if whole is None else notices(whole, answers)
    return {"worker": found.worker, "stale": found.stale, "as_of_ms": found.as_of_ms, "notices": silent}


def unknown(what: str, advice: str, whole: group.Group) -> Problem:
    """What to answer when nobody who answers knows it."""
    unheard = [show.visible(s.name) for s in whole.silent if s.partitions or s.as_of_ms is None]
    if unheard:
        sentence = f"Worker {', '.join(unheard)} does not answer and may own it. Try again in a moment."
        return Problem(503, f"Cannot say now: {what} is not known to the other workers", sentence)
    return Problem(404, f"There is no {what}", advice)


async def team(site: Site, params: Params) -> Page:
    """`/teams/{org}/{team}`: the month's total, its hours, the models."""
    org, name = params.get("org", ""), params.get("team", "")
    whole, answers = await asyncio.gather(
        site.group(), site.fleet.ask("team", {"org": org, "team": name}, list[TeamFacts])
    )
    advice = "Check both names, or look for the team on the page of usage. A team appears with its first event."
    found, told = known(answers, whole, f"team {show.visible(name)} in {show.visible(org)}", advice)
    entries = [wire.team_with_decimals(entry) for entry in told]
    context = {
        "org": org,
        "team": name,
        "entries": [(entry, chart.month_bars(entry.hours, entry.currency), _open(entry)) for entry in entries],
        "hours_max": TEAM_HOURS_MAX,
        **said_by(found, whole, answers),
    }
    twin = {"org": org, "team": name, "worker": found.worker, "stale": found.stale, "currencies": entries}
    return Page("team.html", f"{show.visible(name)} · {show.visible(org)}", context, twin, place="usage")


def _open(entry: TeamFacts) -> Decimal:
    return show.total(hour.cost for hour in entry.hours if hour.state == "open")


async def stated(site: Site, params: Params) -> tuple[group.Group, Answer[list[str]], dict[str, int]]:
    """The revisions, by a worker or, when they are older than its rows, by the ledger; and when it kept each (ms).
    Raises `Problem`."""
    whole, answers, kept = await asyncio.gather(
        site.group(), site.fleet.ask("bill", {"id": params["id"]}, list[str]), site.ledger.chain(params["id"])
    )
    found = best(answers)
    if found is None and kept:
        found = Answer(LEDGER, "", [one.stated.decode() for one in kept], site.clock())
    if found is None:
        advice = "Check the id. Workers keep bills for 14 days; older ones are in the ledger (docs/ledger.md)."
        raise unknown(f"bill {show.visible(params['id'])}", advice, whole)
    return whole, found, {msgspec.json.decode(one.stated)["id"]: one.recorded_ms for one in kept}


def revisions(found: Answer[list[str]], wanted: str, grace_ms: int) -> tuple[list[bill.Revision], bill.Revision]:
    """All revisions of a bill's bucket, read, and the one with this id. Raises `Problem` 503."""
    try:
        every = bill.read_all([text.encode() for text in found.value or []], grace_ms)
    except ValueError:
        every = []
    one = next((each for each in every if each.id == wanted), None)
    if one is None:
        advice = f"Worker {show.visible(found.worker)} answered with bytes that are no hourly statement."
        raise Problem(503, "This statement cannot be read", advice)
    return every, one


async def statement(site: Site, params: Params) -> Page:
    """`/bills/{id}`: one statement like an invoice, with all revisions of its bucket."""
    whole, found, recorded = await stated(site, params)
    statements, shown = revisions(found, params["id"], site.grace_ms)
    twin = {
        "id": shown.id,
        "worker": found.worker,
        "stale": found.stale,
        "newest": statements[-1].id,
        "cause": shown.cause,
        "sha256": shown.sha256,
        "recorded_ms": recorded.get(shown.id),
        "statement": orjson.Fragment(shown.exact),
        "revisions": [orjson.Fragment(one.exact) for one in statements],
    }
    context = {
        "one": shown,
        "statements": statements,
        "newest": statements[-1],
        "wrong": bill.reasonable(statements),
        "changes": bill.changes,
        "per_thousand": bill.per_thousand,
        "recorded": recorded,
        "of_ledger": found.worker == LEDGER,
        "raw_url": f"{show.bill_url(shown.id)}/statement",
        **said_by(found, whole),
    }
    return Page("bill.html", f"Bill {show.short_id(shown.id)}", context, twin, place="usage")


async def stated_bytes(site: Site, params: Params) -> bytes:
    """`/bills/{id}/statement`: the bytes of that revision as they stand in `billing_events`."""
    _, found, _ = await stated(site, params)
    for text in found.value or []:
        if orjson.loads(text).get("id") == params["id"]:
            return text.encode()
    raise Problem(404, "There is no such statement", "Check the id.", FIRST_EVENT)
