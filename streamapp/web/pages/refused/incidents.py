"""The page of incidents: what people are paged for. A cause with many dead letters at once is one until it is quiet."""

from __future__ import annotations

from streamapp.web.pages.front.extras import MONITOR
from streamapp.web.pages.page import Params, Site, not_visible
from streamapp.web.problem import Problem
from streamapp.web.render import Page

LIMIT = 100  # quiet ones, the newest


async def incidents(site: Site, params: Params) -> Page:
    """`/incidents`: causes of dead letters that people are told of: open, grown, quiet, and who was told."""
    heard = await site.extras.incidents.get()
    if heard.value is None or not heard.value.asked:
        standing = (site.fleets.standings.last.value or {}).get(MONITOR)
        if heard.denied or (standing is not None and standing.state == "not visible"):
            raise not_visible(MONITOR)
        advice = f"Only its worker knows the incidents. See how the group stands: /groups/{MONITOR}"
        raise Problem(503, f"No worker of {MONITOR} answers", advice)
    known = heard.value
    quiet = sorted((one for one in known.every if one.opened_ms is None), key=lambda one: -one.last_ms)
    context = {"open": known.open, "quiet": quiet[:LIMIT], "more": len(quiet) - LIMIT, "silent": known.silent}
    twin = {"open": known.open, "quiet": quiet[:LIMIT], "silent": known.silent}
    return Page("incidents.html", "Incidents", context, twin, place="letters")
