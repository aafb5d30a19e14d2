"""`/usage`: hours and bills, their sums by whatever people ask for, and what they come to against the span before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from streamapp.facts.worker import HourFacts
from streamapp.schemas.billing import COUNTERS
from streamapp.web import show
from streamapp.web.lists import hours, sums
from streamapp.web.pages import chart
from streamapp.web.pages.page import FIRST_EVENT, Params, Site, notices
from streamapp.web.pages.usage.span import Span, span_of
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers.fleet import Answer

KEPT = ("hour", "month", "from", "to", "compare", "by", "org", "team", "model", "state", "sort", "order", "limit")
GROUPS_SHOWN = 500
FIGURES = ("hours", *COUNTERS, "cost")
PARTS = ("billed", "open_cost", "pending_cost")
"""Of the cost. What is billed is what `streamapp bills export` writes."""


async def usage_page(site: Site, params: Params) -> Page:
    """`/usage`: hours filtered, sorted and paged, or groups of them by cost; with the sums of the filter."""
    by = "model" if params.get("model") and not params.get("by") else params.get("by", "")
    if by not in sums.BY:
        raise Problem(
            400, "That cannot be grouped", f"In the address, by is one of {', '.join(filter(None, sums.BY))}."
        )
    span = span_of(params, site.clock())
    asked = {name: params[name] for name in ("org", "team", "model") if params.get(name)} | span.compared
    asked |= {"by": by} if by else {}
    whole, answers, listed = await asyncio.gather(
        site.group(), _sums(site, asked), _hours(site, params, span) if not by else _nothing()
    )
    usage = await asyncio.to_thread(
        sums.merge, [(a.stale, a.value) for a in answers if a.value is not None], whole.owned_now
    )
    context: dict[str, Any] = {
        "by": by,
        "span": span,
        "usage": usage,
        "shown": _ordered(usage.groups, by)[:GROUPS_SHOWN],
        "charts": charts(usage, span),
        "change": change,
        "params": params,
        "url": lambda **changes: usage_url(params, **changes),
        "table_url": lambda **changes: usage_url(params, "/usage.csv", **changes),
        "filtered": bool(KEPT_FILTERS & {name for name in params if params[name]}),
        "notices": notices(whole, answers),
        "first_event": FIRST_EVENT,
    }
    twin: dict[str, Any] = {
        "from_ms": span.from_ms,
        "until_ms": span.until_ms,
        "compared_with": None if span.before is None else {"from_ms": span.before[0], "until_ms": span.before[1]},
        "totals": [line_twin(line, (), span.before is not None) for line in usage.all],
        "silent": whole.silent,
    }
    if by:
        names = {"team": ("org", "team"), "model": ("provider", "model")}.get(by, (by,))
        rows = [line_twin(line, names, span.before is not None) for line in context["shown"]]
        twin |= {"by": by, "matching": len(usage.groups), "groups": rows}
        return Page("usage.html", "Usage and bills", context, twin, place="usage", rows=[_flat(row) for row in rows])
    rows = _listed(context, twin, params, *listed)
    return Page("usage.html", "Usage and bills", context, twin, place="usage", rows=rows)


def _listed(
    context: dict[str, Any], twin: dict[str, Any], params: Params, query: hours.HoursQuery, page: hours.HoursPage
) -> list[dict[str, Any]]:
    """Adds a page of hours; returns its rows."""
    total = page.counts["open"] + page.counts["closed"] + page.counts["revised"]
    context |= {"page": page, "query": query, "total": total}
    rows = [{"worker": worker, "stale": stale, **_row_twin(row)} for row, worker, stale in page.rows]
    twin |= {
        "hours": rows,
        "matching": page.matching,
        "first": page.first,
        "counts": page.counts,
        "next": usage_url(params, after=page.next) if page.next else None,
        "previous": usage_url(params, before=page.previous) if page.previous else None,
    }
    return rows


KEPT_FILTERS = {"hour", "month", "from", "to", "org", "team", "model", "state"}


async def _nothing() -> Any:
    return None


async def _sums(site: Site, asked: dict[str, str]) -> list[Answer[list[sums.PartSums]]]:
    try:
        return await site.fleet.ask("sums", asked, list[sums.PartSums])
    except ValueError as error:
        raise Problem(400, "That is too much at once", f"{error}. Choose a shorter span, or one team.") from None


async def _hours(site: Site, params: Params, span: Span) -> tuple[hours.HoursQuery, hours.HoursPage]:
    wanted = {
        key: params[key]
        for key in ("org", "team", "state", "sort", "order", "after", "before", "limit")
        if params.get(key)
    } | span.filter
    if span.is_chosen and not params.get("team"):  # who cost most then; of one team, and of all time, the newest hours
        wanted.setdefault("sort", "cost")
    try:
        query = hours.hours_query(wanted)
    except ValueError as error:
        raise Problem(400, "That list of hours cannot be shown", f"In the address, {error}.") from None
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("hours", wanted, hours.HoursSlice))
    parts = [(a.worker, a.stale, a.value) for a in answers if a.value is not None]
    return query, await asyncio.to_thread(hours.merge, parts, whole.owned_now, query)


def _ordered(groups: Sequence[sums.Line], by: str) -> list[sums.Line]:
    """By cost; what is by time, the newest first."""
    if by in ("hour", "day"):
        return sorted(groups, key=lambda line: line.group, reverse=True)
    return list(groups)


def charts(usage: sums.Usage, span: Span) -> list[tuple[str, chart.Bars]]:
    """Cost by hour, or by day where there are many, of each currency."""
    found = ((currency, chart.span_bars(costs, currency, span.from_ms)) for currency, costs in usage.series.items())
    return sorted((currency, bars) for currency, bars in found if bars is not None)


def change(line: sums.Line) -> tuple[Decimal, str]:
    """By how much the cost differs from the span before, and by how much of a hundred."""
    difference = show.EXACT.subtract(line.now.cost, line.before.cost)
    if not line.before.cost:
        return difference, "new" if line.now.cost else ""
    percent = float(difference / line.before.cost) * 100  # for the eye only
    return difference, f"{'+' if percent > 0 else ''}{percent:,.1f} %".replace("-", show.MINUS)


def line_twin(line: sums.Line, names: Sequence[str], is_compared: bool) -> dict[str, Any]:
    """A line as JSON; `names`: of the parts of its group."""
    group = dict(zip(names, line.group, strict=False))
    told = {**group, "currency": line.currency, **{name: getattr(line.now, name) for name in (*FIGURES, *PARTS)}}
    if not is_compared:
        return told
    before = {name: getattr(line.before, name) for name in FIGURES}
    return {**told, "before": before, "change": change(line)[0]}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A line as a row of a table."""
    before = row.get("before", {})
    rest = {name: value for name, value in row.items() if name != "before"}
    return {**rest, **{f"before_{name}": value for name, value in before.items()}}


def _row_twin(row: HourFacts) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in HourFacts.__dataclass_fields__}
    return {
        **facts,
        "team_url": show.team_url(row.org, row.team),
        "bill_url": show.bill_url(row.bill_id) if row.bill_id else None,
    }


def usage_url(params: Params, path: str = "/usage", **changes: str) -> str:
    """The same list with something changed; whatever changes but the place in it starts from the first page."""
    keep = {key: params.get(key, "") for key in KEPT}
    keep.update(changes)
    return show.linked(path, keep)
