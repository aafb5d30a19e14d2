"""What every page is built from, and the page of hours. A builder turns parameters into one `Page`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from streamapp.clock import Clock
from streamapp.dead_letters.acting import Acting
from streamapp.dead_letters.recent import Letters
from streamapp.web import show
from streamapp.web.pages.events.asking import Seeker
from streamapp.web.pages.extras import Extras
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers import group, hours, local
from streamapp.web.workers.fleet import Answer, Fleet
from streamapp.web.workers.fleets import Fleets
from streamapp.web.workers.source import HourFacts, WorkerFacts

Params = dict[str, str]

FIRST_EVENT = "streamapp simulate --events 1000"


@dataclass(frozen=True, slots=True)
class Site:
    """What every page builder needs. `fleet` is the group that a page is about: this worker's own, unless `at` says
    otherwise."""

    fleet: Fleet
    clock: Clock
    grace_ms: int
    letters: Letters
    fleets: Fleets
    extras: Extras
    events: Seeker
    acting: Acting

    async def at(self, name: str) -> Site:
        """The same for pages of that group, whichever worker serves them.

        Raises `Problem` 503 when nobody is known who could answer.
        """
        if name == self.fleets.own_name:
            return replace(self, fleet=self.fleets.mine)
        await self.fleets.standings.sure()
        fleet = self.fleets.of(name)
        standing = (self.fleets.standings.last.value or {}).get(name)
        if not fleet.peers() and standing is not None and standing.state == "not visible":
            raise not_visible(name)
        if not fleet.peers():
            advice = f"Only its workers know this, and none is known to run. See how the group stands: /groups/{name}"
            raise Problem(503, f"No worker of {name} answers", advice)
        return replace(self, fleet=fleet)

    async def workers(self, name: str) -> group.Group:
        """The workers of any group: asked now if it is the own one, else as they said last, a moment ago."""
        return group.gather(await self.fleets.workers(name))

    async def group(self) -> group.Group:
        """The workers, asked now."""
        return group.gather(await self.fleet.ask("worker", {}, WorkerFacts))


def not_visible(name: str) -> Problem:
    """What this worker's Kafka user may not see: no failure, and nothing to wait for. `name`: the group that can."""
    advice = (
        f"This worker's Kafka user may not see it. Open it on a worker of {name}, or give the pages a Kafka user that "
        "may: STREAM_WEB__KAFKA_USERNAME."
    )
    return Problem(403, "Not visible from this worker", advice)


@dataclass(frozen=True, slots=True)
class Notices:
    """What stands above a page when a worker is silent."""

    silent: tuple[group.Silent, ...]
    gaps: tuple[str, ...]  # names of workers whose part of this page is not known


def notices(whole: group.Group, answers: Sequence[Answer[Any]]) -> Notices:
    """Name every silent worker, and those of whom this page shows nothing though they may have something: one whose
    rows are damaged still says who it is."""
    taken_over = {s.url for s in whole.silent if s.as_of_ms is not None and not s.partitions}
    gaps = [a for a in answers if a.stale and a.value is None and a.url not in taken_over]
    named = {s.url for s in whole.silent}
    only_here = [group.Silent(a.worker, a.url, a.problem, a.as_of_ms, ()) for a in gaps if a.url not in named]
    return Notices((*whole.silent, *only_here), tuple(a.worker for a in gaps))


async def hours_page(site: Site, params: Params) -> Page:
    """`/hours`: filtered, sorted, paged."""
    wanted = {
        key: params[key]
        for key in ("org", "team", "state", "sort", "order", "after", "before", "limit")
        if params.get(key)
    }
    if params.get("hour"):
        wanted["hour_ms"] = str(_hour_ms(params["hour"]))
    try:
        query = local.hours_query(wanted)
    except ValueError as error:
        raise Problem(400, "That list of hours cannot be shown", f"In the address, {error}.") from None
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("hours", wanted, hours.HoursSlice))
    parts = [(a.worker, a.stale, a.value) for a in answers if a.value is not None]
    page = await asyncio.to_thread(hours.merge, parts, whole.owned_now, query)
    twin = {
        "hours": [{"worker": worker, "stale": stale, **_row_twin(row)} for row, worker, stale in page.rows],
        "matching": page.matching,
        "first": page.first,
        "counts": page.counts,
        "next": hours_url(params, after=page.next) if page.next else None,
        "previous": hours_url(params, before=page.previous) if page.previous else None,
        "silent": whole.silent,
    }
    context = {
        "page": page,
        "query": query,
        "params": params,
        "url": lambda **changes: hours_url(params, **changes),
        "filtered": bool(query.org or query.team or query.hour_ms is not None or query.state),
        "total": page.counts["open"] + page.counts["closed"] + page.counts["revised"],
        "notices": notices(whole, answers),
        "first_event": FIRST_EVENT,
    }
    return Page("hours.html", "Hours", context, twin, place="hours")


def _row_twin(row: HourFacts) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in HourFacts.__dataclass_fields__}
    return {
        **facts,
        "team_url": show.team_url(row.org, row.team),
        "bill_url": show.bill_url(row.bill_id) if row.bill_id else None,
    }


def _hour_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        hour_ms = int(at.timestamp()) // 3600 * 3_600_000
        show.moment(hour_ms)  # an offset may carry it over the edge of the calendar
    except (ValueError, OverflowError):
        raise Problem(400, "That is no hour", "Write the hour as 2025-01-15T10:00, in UTC.") from None
    return hour_ms


def moment_in(params: Params, name: str) -> int | None:
    """A time of the address, in UTC when it has no offset; None when it is not there. Raises `Problem` 400."""
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem(400, "That is no time", "Write a time as 2025-01-15T10:00, in UTC.") from None


def hours_url(params: Params, **changes: str) -> str:
    """The same list with something changed; whatever changes but the place in it starts from the first page."""
    keep = {key: params.get(key, "") for key in ("org", "team", "hour", "state", "sort", "order", "limit")}
    keep.update(changes)
    text = urlencode({key: value for key, value in keep.items() if value}, errors="replace")
    return f"/hours?{text}" if text else "/hours"
