"""The pages that answer: where is my event? One event, events of a team, the newest ones, the calls behind a bill or a
settlement. None is live but the tail: each is a search."""

from __future__ import annotations

import re
from typing import Any

from streamapp.errors import Denied, Misconfigured, StreamError
from streamapp.events.listing import SHOWN_MAX, TOPICS, Listing, between
from streamapp.events.names import TEXT_MAX, place_of
from streamapp.events.trace import Trace
from streamapp.topics.registry import EVENT_TOPICS
from streamapp.web import show
from streamapp.web.pages import agents
from streamapp.web.pages.events import shown
from streamapp.web.pages.events.calls import Behind, of_bill, of_settlement
from streamapp.web.pages.page import Params, Site, moment_in
from streamapp.web.pages.usage import accounts
from streamapp.web.problem import Problem
from streamapp.web.render import Page

ROWS = 50  # of a list, on one page
NOT_LIVE = {"live_status": 0}
NAMED = {"shown": shown, "show_max": SHOWN_MAX}
OFFSET = re.compile(r"\d{1,18}")


async def events(site: Site, params: Params) -> Page:
    """`/events`: the newest events as they come, or those of a team in a time, each with what became of it."""
    topic, team = params.get("topic") or TOPICS[0], params.get("team", "").strip()
    if topic not in TOPICS:
        raise Problem(400, "Those events cannot be shown", f"In the address, topic is one of {', '.join(TOPICS)}.")
    from_ms, until_ms = moment_in(params, "from"), moment_in(params, "to")
    is_tail = from_ms is None and until_ms is None
    if not is_tail and not team:
        raise Problem(
            400, "A time needs a team", "The team says which partition is read. Name one, or leave out the time."
        )
    if is_tail:
        made = await _asked(topic, site.events.list.tail(topic, team))
    else:
        start, until = between(from_ms, until_ms, site.clock())
        made = await _asked(topic, site.events.list.of_team(topic, team, start, until))
    context = {
        **NAMED,
        **_part(params, made, "/events"),
        "made": made,
        "topic": topic,
        "topics": TOPICS,
        "team": team,
        "from_text": params.get("from", ""),
        "to_text": params.get("to", ""),
        "is_tail": is_tail,
        "whose": "Agent" if topic == "agent_rpc_metering" else "Team",
        "live_status": 200 if is_tail else 0,
    }
    return Page("events.html", "Events", context, lambda: shown.listing_twin(made), place="events")


async def event(site: Site, params: Params) -> Page:
    """`/events/{id}`: one event, by its id or its place in the log: where it is, and what became of it."""
    wanted = params["id"].strip()
    if not wanted or len(wanted) > TEXT_MAX:
        raise Problem(400, "That is no id of an event", f"An id has at most {TEXT_MAX} characters.")
    place = place_of(wanted)
    if place is None:
        trace: Trace = await site.events.trace.by_id(wanted)
    elif place[0] not in {topic.name for topic in EVENT_TOPICS}:
        raise Problem(404, f"There is no event topic {show.visible(place[0])}", "A place is like llm_usage[3]@31617.")
    else:
        trace = await _asked(place[0], site.events.trace.at(place))
    status = 200 if trace.sightings else 404
    context = {**NAMED, **NOT_LIVE, "trace": trace, "again": show.event_url(wanted)}
    title = f"Event {show.short_id(show.visible(wanted))}"
    return Page("event.html", title, context, shown.trace_twin(trace), status, place="events")


async def calls_of_bill(site: Site, params: Params) -> Page:
    """`/bills/{id}/calls`: the calls that a bill is made of, with what became of each."""
    _, found, _ = await accounts.stated(site, params)
    _, one = accounts.revisions(found, params["id"], site.grace_ms)
    head = {
        "what": "bill",
        "title": f"{show.day_clock(one.start_ms)} UTC, {one.data.team_id}",
        "home": show.bill_url(one.id),
        "crumb": ("/usage?state=closed", "Bills"),
    }
    return await _calls(site, params, of_bill(one), head, "usage")


async def calls_of_settlement(site: Site, params: Params) -> Page:
    """`/settlements/{id}/calls`: the calls that a settlement is made of, with what became of each."""
    one, _ = await agents.settled(site, params)
    head = {
        "what": "settlement",
        "title": f"{one.data.consumer} to {one.data.agent}",
        "home": show.settlement_url(one.id),
        "crumb": ("/agents", "Agents"),
    }
    return await _calls(site, params, of_settlement(one), head, "agents")


async def _calls(site: Site, params: Params, behind: Behind, head: dict[str, Any], place: str) -> Page:
    covered = behind.coverage
    first = _offset(params, covered.first_offset)
    made: Listing = await _asked(covered.topic, behind.listed(site.events, first))
    cost = made.cost.get(behind.currency, show.total(()))
    is_all = made.whole and first == covered.first_offset
    context = {
        **NAMED,
        **NOT_LIVE,
        **_part(params, made, f"{head['home']}/calls"),
        "made": made,
        "head": {**head, "id": behind.id},
        "coverage": covered,
        "is_all": is_all,
        "agrees": is_all and made.counted == covered.events and cost == behind.amount,
        "sums": (cost, behind.amount, behind.currency),
        "first": first,
        "next_url": f"{head['home']}/calls?from={made.next_offset}" if made.next_offset is not None else "",
    }
    told = {head["what"]: behind.id, "events_stated": covered.events, "whole": is_all}

    def twin() -> dict[str, Any]:
        return {**shown.listing_twin(made), **told}

    return Page("calls.html", f"Calls of {head['what']} {show.short_id(behind.id)}", context, twin, place=place)


async def _asked(topic: str, answer: Any) -> Any:
    try:
        return await answer
    except Denied:
        advice = (
            f"This worker's Kafka user may not read {topic}. Open the page on a worker of a group that reads it, or "
            "give the pages a Kafka user that may: STREAM_WEB__KAFKA_USERNAME."
        )
        raise Problem(403, "Not visible from this worker", advice) from None
    except Misconfigured as error:
        raise Problem(404, "There is nothing to read", f"{error}.") from None
    except StreamError as error:
        raise Problem(503, "The events cannot be read now", f"{error}. Nothing is lost by it.") from None


def _part(params: Params, made: Listing, path: str) -> dict[str, Any]:
    """The rows of a list that a page shows, from `row` on, and the addresses of those before and behind. The JSON has
    them all."""
    kept = {name: params[name] for name in ("topic", "team", "from", "to") if params.get(name)}
    last = max(0, len(made.sightings) - 1) // ROWS * ROWS  # where the last page begins: none lies behind it
    first = _offset({"from": params.get("row", "")}, 0)
    first = first if first < len(made.sightings) else last

    return {
        "listed": made.sightings[first : first + ROWS],
        "first_row": first,
        "rows_before": show.linked(path, {**kept, "row": max(0, first - ROWS)}) if first else "",
        "rows_behind": show.linked(path, {**kept, "row": first + ROWS}) if first + ROWS < len(made.sightings) else "",
    }


def _offset(params: Params, otherwise: int) -> int:
    text = params.get("from", "")
    return max(otherwise, int(text)) if OFFSET.fullmatch(text) else otherwise
