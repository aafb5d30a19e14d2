"""The raw tables of every group: rows as they are stored, fetched from the workers that own them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TypeVar

from streamapp.facts.worker import RawRow, RowFacts
from streamapp.meters import registry as meters
from streamapp.sinks import registry as sinks
from streamapp.topics.registry import GROUPS
from streamapp.web import show
from streamapp.web.lists import keyset
from streamapp.web.pages.page import FIRST_EVENT, Params, Site, notices, tables_of
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers import group, local
from streamapp.web.workers.fleet import Answer
from tables.window import HOUR_MS

R = TypeVar("R", RawRow, RowFacts)

HOURS_MAX = 14 * 24
WHICH_ROWS = (
    f"In the address, limit is a number from 1 to {local.ROWS_MAX}, partition a number, and after a key as the links "
    "give it."
)


async def tables(site: Site, params: Params) -> Page:
    """`/tables`: every table of every group."""
    whole, found, about = await asyncio.gather(site.group(), _everywhere(site), asyncio.to_thread(_about))
    listed = [
        {"name": name, "group": owner, "about": about.get(name, ""), "url": show.table_url(name, owner)}
        for owner, names in found.items()
        for name in names
    ]
    twin = {"tables": listed, "silent": whole.silent}
    context = {"tables": listed, "notices": notices(whole, []), "first_event": FIRST_EVENT}
    return Page("tables.html", "Tables", context, twin, place="tables")


@cache
def _about() -> dict[str, str]:
    """Table → what it holds, as its declaration says. The first time the modules of all groups are imported."""
    tables = [meters.declared(name) for name, _ in meters.TABLES], [sinks.declared(name) for name, _ in sinks.SINKS]
    return {one.name: one.help for each in tables for one in each}


async def _everywhere(site: Site) -> dict[str, list[str]]:
    """Group → its tables, of those whose workers answer."""
    await site.fleets.standings.sure()
    names = [one.name for one in GROUPS]
    known = await asyncio.gather(*(tables_of(site.fleets.of(name)) for name in names))
    return {name: tables for name, tables in zip(names, known, strict=True) if tables}


async def _home(site: Site, name: str, owner: str) -> tuple[Site, str]:
    """Pages of the group that keeps a table: the one that is named, else this worker's own, else who knows it."""
    own = site.fleets.own_name
    if owner and owner not in {one.name for one in GROUPS}:
        raise Problem(404, f"No group is called {show.visible(owner)}", "See all tables: /tables")
    if not owner:
        owner = own
        if name not in await tables_of(site.fleet):
            owner = next((one for one, names in (await _everywhere(site)).items() if name in names), own)
    return await site.at(owner), owner


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
    site, owner = await _home(site, name, params.get("group", ""))
    whole, answers = await _answers(site, name, owner, "rows", wanted, list[RawRow])
    found = [(row, answer.worker, answer.stale) for answer, row in _rows(whole, answers)]
    found.sort(key=lambda item: item[0].partition)  # stable: a partition's rows come from one worker, in its order
    rows = [_shown(*item) for item in found[:limit]]
    more = len(found) > limit
    last = rows[-1].row if more else None
    place = {"after": json.dumps([last.partition, *last.key]), "partition": params.get("partition", "")} if last else {}
    kept = ("group", "limit", "find")
    place |= {key: params.get(key, "") for key in kept} if last else {}
    next_url = show.linked(show.table_url(name), place) if last else ""
    twin = {
        "table": name,
        "group": owner,
        "rows": [{"key": s.row.key, "row": s.row.row, "partition": s.row.partition, "owner": s.owner, "stale": s.stale,
                  "last_offset": s.row.last_offset} for s in rows],
        "next": next_url or None,
        "silent": whole.silent,
    }  # fmt: skip
    context = {
        "name": name,
        "owner": owner,
        "url": lambda partition=None, find="": _url(name, params.get("group", ""), partition, find),
        "rows": rows,
        "next_url": next_url,
        "partition": params.get("partition", ""),
        "params": params,
        "find": params.get("find", "").strip(),
        "find_max": local.FIND_MAX,
        "by_hour": any(each.row.key[:1] == ("row",) for each in rows),
        "partitions": [owned.facts.partition for owned in whole.partitions],
        "first_page": "after" not in params,
        "notices": notices(whole, answers),
        "first_event": FIRST_EVENT,
    }
    return Page("table.html", f"Table {show.visible(name)}", context, twin, place="tables")


async def hours(site: Site, params: Params) -> Page:
    """`/tables/{name}/hours`: a table of rows by key and hour, the newest hours first; `limit` of them."""
    name, text = params["name"], params.get("hours") or "24"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= HOURS_MAX):
        raise Problem(400, "Those hours cannot be shown", f"In the address, hours is a number from 1 to {HOURS_MAX}.")
    limit = _limit(params)
    site, owner = await _home(site, name, params.get("group", ""))
    since = {"from": str(site.clock() - int(text) * HOUR_MS), "limit": str(limit + 1)}
    whole, answers = await _answers(site, name, owner, "since", since, list[RowFacts])
    rows = [(row, answer.stale) for answer, row in _rows(whole, answers)]
    rows.sort(key=lambda item: local.newest_first(item[0]))
    more, rows = len(rows) > limit, rows[:limit]
    asked = {"group": params.get("group", ""), "hours": params.get("hours", ""), "limit": str(local.ROWS_MAX)}
    most = show.linked(f"{show.table_url(name)}/hours", asked)
    twin = {
        "table": name,
        "group": owner,
        "more": more,
        "hours": [{**asdict(row), "state": row.state, "stale": stale} for row, stale in rows],
        "silent": whole.silent,
    }
    context = {
        "name": name,
        "owner": owner,
        "rows": rows,
        "names": list(rows[0][0].names) if rows else [],
        "counted": [key for key, value in rows[0][0].counted.items() if not isinstance(value, dict)] if rows else [],
        "hours": int(text),
        "more": more,
        "most_url": most if more and limit < local.ROWS_MAX else "",
        "notices": notices(whole, answers),
    }
    return Page("row_hours.html", f"Hours of {show.visible(name)}", context, twin, place="tables")


def _rows_wanted(params: Params) -> tuple[Params, int]:
    try:
        limit = _limit(params)
        wanted = {"table": params["name"], "limit": str(limit + 1), "find": params.get("find", "").strip()}
        if params.get("partition"):
            wanted["partition"] = str(int(params["partition"]))
        if params.get("after"):
            partition, *key = local.row_key(params["after"])
            wanted.update({"from": str(int(partition)), "after": json.dumps(key)})
    except (ValueError, TypeError):
        raise Problem(400, "Those rows cannot be shown", WHICH_ROWS) from None
    return wanted, limit


def _limit(params: Params) -> int:
    try:
        return keyset.limit_of(params.get("limit") or "50")
    except ValueError:
        raise Problem(400, "Those rows cannot be shown", WHICH_ROWS) from None


def _url(name: str, owner: str, partition: int | None, find: str) -> str:
    wanted = {"group": owner, "partition": "" if partition is None else str(partition), "find": find}
    return show.linked(show.table_url(name), wanted)


async def _answers(
    site: Site, name: str, owner: str, question: str, wanted: Params, type_: type[list[R]]
) -> tuple[group.Group, list[Answer[list[R]]]]:
    """What the workers of a group tell of a table's rows. Raises `Problem` 404 when nobody knows such a table."""
    whole, known, answers = await asyncio.gather(
        site.group(), tables_of(site.fleet), site.fleet.ask(question, wanted, type_)
    )
    if name not in known:
        listed = ", ".join(map(show.visible, known)) or "none yet"
        silent = " A worker does not answer; it may know more." if whole.silent else ""
        advice = f"The tables of this group: {listed}.{silent}"
        raise Problem(404, f"No table of {owner} is called {show.visible(name)}", advice)
    return whole, answers


def _rows(whole: group.Group, answers: Sequence[Answer[list[R]]]) -> Iterator[tuple[Answer[list[R]], R]]:
    """Every row with the answer it came in. What a silent worker knew of a partition that another one owns now is
    dropped."""
    for answer in answers:
        for row in answer.value or []:
            if not (answer.stale and row.partition in whole.owned_now):
                yield answer, row


def _shown(row: RawRow, owner: str, stale: bool) -> Shown:
    kind, parts = row.key[0] if row.key else "", row.key
    url = ""
    if kind == "hour" and len(parts) == 5:
        url = show.team_url(str(parts[2]), str(parts[3]))
    elif kind == "bill" and len(parts) == 2:
        url = show.bill_url(str(parts[1]))
    text = json.dumps(row.row, ensure_ascii=False, default=str, separators=(",", ":"))
    pretty = json.dumps(row.row, ensure_ascii=False, default=str, indent=2)
    return Shown(row, owner, stale, show.visible(local.key_text(parts)), text, pretty, url)
