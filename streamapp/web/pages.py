"""The pages of the group: overview, hours, raw tables. Each builder turns parameters into one `Page`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from streamapp.clock import Clock
from streamapp.ops.letters_recent import Letters
from streamapp.web import chart, group, hours, local, show
from streamapp.web.fleet import Answer, Fleet
from streamapp.web.render import Page, Problem
from streamapp.web.source import HourFacts, RawRow, WorkerFacts

Params = dict[str, str]

FIRST_EVENT = "streamapp simulate --events 1000"


@dataclass(frozen=True, slots=True)
class Site:
    """What every page builder needs."""

    fleet: Fleet
    clock: Clock
    grace_ms: int
    letters: Letters

    async def group(self) -> group.Group:
        """The workers, asked now."""
        return group.gather(await self.fleet.ask("worker", {}, WorkerFacts))


@dataclass(frozen=True, slots=True)
class Notices:
    """What stands above a page when a worker is silent."""

    silent: tuple[group.Silent, ...]
    gaps: tuple[str, ...]  # names of workers whose part of this page is not known


def notices(whole: group.Group, answers: Sequence[Answer[Any]]) -> Notices:
    """Name every silent worker, and those of whom this page shows nothing though they may have something."""
    taken_over = {s.url for s in whole.silent if s.as_of_ms is not None and not s.partitions}
    gaps = [a.worker for a in answers if a.stale and a.value is None and a.url not in taken_over]
    return Notices(whole.silent, tuple(gaps))


async def overview(site: Site, params: Params) -> Page:
    """`/`: one look says whether all is well."""
    whole = await site.group()
    found = group.findings(whole, site.clock())
    level: group.Level = found[0].level if found else "ok"
    twin = {
        "group": whole.name,
        "verdict": level,
        "findings": found,
        "lag": whole.lag,
        "events_per_s": round(whole.events_per_s, 3),
        "last_commit_ms": whole.last_commit_ms,
        "dead_letters": whole.dead_letters(),
        "money": [
            dict(zip(("currency", "open", "closed_today", "revised_today"), m, strict=True)) for m in whole.money()
        ],
        "partitions": [
            {"owner": o.owner, "stale": o.stale, "lag": o.facts.lag, "facts": o.facts} for o in whole.partitions
        ],
        "missing": whole.missing,
        "workers": [{"name": f.name, "url": f.url, "started_ms": f.started_ms, "stale": s} for f, s in whole.workers],
        "silent": whole.silent,
    }
    context = {
        "group": whole,
        "findings": found,
        "level": level,
        "curve": chart.line(whole.curve),
        "curve_top": max(whole.curve, default=0.0),
        "notices": Notices((), ()),  # the findings name the silent ones here
        "first_event": FIRST_EVENT,
    }
    return Page("overview.html", "Overview", context, twin, place="overview")


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


def hours_url(params: Params, **changes: str) -> str:
    """The same list with something changed; whatever changes but the place in it starts from the first page."""
    keep = {key: params.get(key, "") for key in ("org", "team", "hour", "state", "sort", "order", "limit")}
    keep.update(changes)
    text = urlencode({key: value for key, value in keep.items() if value}, errors="replace")
    return f"/hours?{text}" if text else "/hours"


async def tables(site: Site, params: Params) -> Page:
    """`/tables`: every table of the group."""
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("tables", {}, list[str]))
    names = sorted({name for answer in answers for name in answer.value or []})
    twin = {"tables": [{"name": name, "url": show.table_url(name)} for name in names], "silent": whole.silent}
    context = {"names": names, "group": whole, "notices": notices(whole, answers), "first_event": FIRST_EVENT}
    return Page("tables.html", "Tables", context, twin, place="tables")


@dataclass(frozen=True, slots=True)
class Shown:
    """A raw row as it is listed."""

    row: RawRow
    owner: str
    stale: bool
    key: str
    text: str
    pretty: str
    url: str  # of the page that explains this row, or empty


async def table(site: Site, params: Params) -> Page:
    """`/tables/{name}`: rows as they are stored, partition by partition, in the store's order of keys."""
    name, (wanted, limit) = params["name"], _rows_wanted(params)
    whole, names, answers = await asyncio.gather(
        site.group(), site.fleet.ask("tables", {}, list[str]), site.fleet.ask("rows", wanted, list[RawRow])
    )
    known = {one for answer in names for one in answer.value or []}
    if name not in known:
        raise Problem(404, f"No table is called {show.visible(name)}", _tables_advice(known, whole))
    found = [
        (row, answer.worker, answer.stale)
        for answer in answers
        for row in answer.value or []
        if not (answer.stale and row.partition in whole.owned_now)
    ]
    found.sort(key=lambda item: item[0].partition)  # stable: a partition's rows come from one worker, in its order
    rows = [_shown(*item) for item in found[:limit]]
    more = len(found) > limit
    last = rows[-1].row if more else None
    place = {"after": json.dumps([last.partition, *last.key]), "partition": params.get("partition", "")} if last else {}
    next_url = f"{show.table_url(name)}?{urlencode({k: v for k, v in place.items() if v})}" if place else ""
    if next_url and "limit" in params:
        next_url += f"&limit={limit}"
    twin = {
        "table": name,
        "rows": [{"key": s.row.key, "row": s.row.row, "partition": s.row.partition, "owner": s.owner, "stale": s.stale,
                  "last_offset": s.row.last_offset} for s in rows],
        "next": next_url or None,
        "silent": whole.silent,
    }  # fmt: skip
    context = {
        "name": name,
        "rows": rows,
        "next_url": next_url,
        "partition": params.get("partition", ""),
        "partitions": [owned.facts.partition for owned in whole.partitions],
        "first_page": "after" not in params,
        "notices": notices(whole, answers),
        "first_event": FIRST_EVENT,
    }
    return Page("table.html", f"Table {show.visible(name)}", context, twin, place="tables")


def _rows_wanted(params: Params) -> tuple[Params, int]:
    try:
        limit = int(params.get("limit") or 50)
        wanted = {"table": params["name"], "limit": str(limit + 1)}
        if not 1 <= limit <= local.ROWS_MAX:
            raise ValueError
        if params.get("partition"):
            wanted["partition"] = str(int(params["partition"]))
        if params.get("after"):
            partition, *key = local.row_key(params["after"])
            wanted.update({"from": str(int(partition)), "after": json.dumps(key)})
    except (ValueError, TypeError):
        advice = (
            f"In the address, limit is a number from 1 to {local.ROWS_MAX}, partition a number, "
            "and after a key as the links give it."
        )
        raise Problem(400, "Those rows cannot be shown", advice) from None
    return wanted, limit


def _tables_advice(known: set[str], whole: group.Group) -> str:
    listed = ", ".join(show.visible(name) for name in sorted(known)) or "none yet"
    silent = " A worker does not answer; it may know more." if whole.silent else ""
    return f"The tables of this group: {listed}.{silent}"


def _shown(row: RawRow, owner: str, stale: bool) -> Shown:
    kind, parts = row.key[0] if row.key else "", row.key
    url = ""
    if kind == "hour" and len(parts) == 5:
        url = show.team_url(str(parts[2]), str(parts[3]))
    elif kind == "hour" and len(parts) == 6:
        url = show.agent_url(str(parts[2]), str(parts[3]))
    elif kind == "bill" and len(parts) == 2:
        url = show.bill_url(str(parts[1]))
    elif kind == "account" and len(parts) == 5:
        url = show.agent_url(str(parts[1]), str(parts[2]))
    elif kind == "settlement" and len(parts) == 2:
        url = show.settlement_url(str(parts[1]))
    text = json.dumps(row.row, ensure_ascii=False, default=str, separators=(",", ":"))
    pretty = json.dumps(row.row, ensure_ascii=False, default=str, indent=2)
    return Shown(row, owner, stale, show.visible(" · ".join(map(str, parts))), text, pretty, url)
