"""`/orgs/{org}`: what an org's teams have used in a month, against the month before."""

from __future__ import annotations

import asyncio

from streamapp.web import show
from streamapp.web.lists import sums
from streamapp.web.pages.page import Params, Site, notices
from streamapp.web.pages.usage.accounts import unknown
from streamapp.web.pages.usage.span import month_before, month_of, month_span
from streamapp.web.pages.usage.usage import change, line_twin
from streamapp.web.render import Page


async def org_page(site: Site, params: Params) -> Page:
    """`/orgs/{org}`: the org's teams by cost, with the month's sums. The hours of fourteen days are here; `streamapp
    bills export` has whole months."""
    org = params.get("org", "")
    month = month_of(params["month"]) if params.get("month") else show.rfc3339(site.clock())[:7]
    begin, end = month_span(month)
    before = month_before(begin)
    asked = {"by": "team", "from_ms": str(begin), "until_ms": str(end)}
    asked |= {"before_from_ms": str(before), "before_until_ms": str(begin)} | ({"org": org} if org else {})
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("sums", asked, list[sums.PartSums]))
    found = [(answer.stale, answer.value) for answer in answers if answer.value is not None]
    usage = await asyncio.to_thread(sums.merge, found, whole.owned_now)
    teams = [line for line in usage.groups if line.group[:1] == (org,)]
    if not teams:
        advice = f"Hours are kept here for 14 days. The ledger has all: streamapp bills export --month {month}"
        raise unknown(f"usage of org {show.visible(org)} in {show.month_name(month)}", advice, whole)
    totals = sums.by_currency(teams)
    months = [show.rfc3339(begin)[:7], show.rfc3339(before)[:7]]
    context = {
        "org": org,
        "month": month,
        "months": months,
        "newer": show.rfc3339(end)[:7] if end <= site.clock() else "",
        "totals": list(totals.values()),
        "teams": teams,
        "change": change,
        "notices": notices(whole, answers),
    }
    twin = {
        "org": org,
        "month": month,
        "totals": [line_twin(line, (), True) for line in totals.values()],
        "teams": [line_twin(line, ("org", "team"), True) for line in teams],
        "silent": whole.silent,
    }
    return Page("org.html", show.visible(org), context, twin, place="usage")
