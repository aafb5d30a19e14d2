"""Add accounts up by agent, filter, sort and page through them: pure functions, keyset paging as in `hours`.

An agent lives on one partition, so one worker has all of its accounts, and the workers' pages merge without adding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import nsmallest
from operator import attrgetter
from typing import Any

import msgspec

from streamapp.web import show
from streamapp.web.workers.source import AccountFacts

LIMIT_MAX = 500
SORTS = ("agent", "calls", "open", "pending", "settled")

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent of an org in one currency, all consumers together."""

    org: str
    agent: str
    currency: str
    partition: int
    consumers: int
    calls: int
    open: Decimal
    pending: Decimal
    settled: Decimal
    settlements: int
    settled_until_ms: int | None


@dataclass(frozen=True, slots=True)
class AgentsQuery:
    """What a person asks for. `after` is a cursor: rows strictly behind that key."""

    org: str = ""  # a part of the name, any case; empty: all
    agent: str = ""
    sort: str = "agent"
    after: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class AgentsSlice:
    """One worker's answer: up to `limit` + 1 rows, and how many match on each partition."""

    rows: list[AgentRow]
    matching: dict[int, int]


@dataclass(frozen=True, slots=True)
class AgentsPage:
    """A merged page. `rows` carry the name of their worker and whether the row is last-known only."""

    rows: list[tuple[AgentRow, str, bool]]
    matching: int
    next: str  # cursor, or empty


def agents_query(params: dict[str, str]) -> AgentsQuery:
    """Text of a link → query. Raises ValueError with one sentence that says what is possible."""
    sort, limit = params.get("sort") or "agent", params.get("limit") or "50"
    if sort not in SORTS:
        raise ValueError(f"sort is one of {', '.join(SORTS)}")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= LIMIT_MAX):
        raise ValueError(f"limit is a number from 1 to {LIMIT_MAX}")
    query = AgentsQuery(params.get("org", ""), params.get("agent", ""), sort, params.get("after", ""), int(limit))
    _edge(query)
    return query


def sort_key(query: AgentsQuery) -> Callable[[AgentRow], Key]:
    """Row → key, ascending and unique: the highest amounts and counts first, names by the alphabet."""
    match query.sort:
        case "calls":
            return lambda row: (-row.calls, row.agent, row.org, row.currency)
        case "open" | "pending" | "settled" as name:  # unary minus would round to 28 digits
            return lambda row: (getattr(row, name).copy_negate(), row.agent, row.org, row.currency)
    return lambda row: (0, row.agent, row.org, row.currency)


def select(accounts: Iterable[AccountFacts], query: AgentsQuery) -> AgentsSlice:
    """One worker's part of a page. Linear in the accounts; safe in a thread. Only what is sorted by is added up of all;
    the rest, of the rows that are answered."""
    org, agent = query.org.casefold(), query.agent.casefold()
    groups: dict[Names, list[AccountFacts]] = {}
    for one in accounts:
        names = one.agent, one.org, one.currency
        group = groups.get(names)
        if group is not None:
            group.append(one)
        elif (not org or org in one.org.casefold()) and (not agent or agent in one.agent.casefold()):
            groups[names] = [one]
    matching = Counter(group[0].partition for group in groups.values())
    value, edge = _VALUES[query.sort], _edge(query)
    keys = ((value(group), *names) for names, group in groups.items())
    behind = keys if edge is None else (key for key in keys if key > edge)
    return AgentsSlice([_row(groups[key[1:]]) for key in nsmallest(query.limit + 1, behind)], dict(matching))


Names = tuple[str, str, str]
"""Agent, org, currency: in the order that they sort in."""


def _amount(name: str) -> Callable[[Sequence[AccountFacts]], Any]:
    amount = attrgetter(name)  # unary minus would round to 28 digits
    return lambda group: show.total(map(amount, group)).copy_negate()


_VALUES: dict[str, Callable[[Sequence[AccountFacts]], Any]] = {
    "agent": lambda group: 0,
    "calls": lambda group: -sum(one.calls for one in group),
    "open": _amount("open_amount"),
    "pending": _amount("pending_amount"),
    "settled": _amount("settled_amount"),
}


def merge(parts: Sequence[tuple[str, bool, AgentsSlice]], owned: frozenset[int], query: AgentsQuery) -> AgentsPage:
    """Slices of several workers → one page. What a stale worker knew of a partition that a fresh one owns now is
    dropped: it was taken over."""
    key = sort_key(query)
    best: dict[tuple[str, str, str], tuple[AgentRow, str, bool]] = {}
    matching = 0
    for worker, stale, part in sorted(parts, key=lambda part: part[1]):
        matching += sum(n for partition, n in part.matching.items() if not (stale and partition in owned))
        for row in part.rows:
            if not (stale and row.partition in owned):
                best.setdefault((row.org, row.agent, row.currency), (row, worker, stale))
    rows = sorted(best.values(), key=lambda item: key(item[0]))
    shown = rows[: query.limit]
    return AgentsPage(shown, matching, cursor(key(shown[-1][0])) if len(rows) > query.limit else "")


def cursor(key: Key) -> str:
    """A key as text for a link."""
    return msgspec.json.encode(key).decode()


def _edge(query: AgentsQuery) -> Key | None:
    if not query.after:
        return None
    kind = int if query.sort in ("agent", "calls") else Decimal
    shape = tuple[kind, str, str, str]  # type: ignore[valid-type]
    try:
        edge: Key = msgspec.json.decode(query.after.encode("utf-8", "replace"), type=shape)
    except msgspec.MsgspecError:
        raise ValueError("the place to go on from is not one of this sort; start from the first page") from None
    return edge


def _row(accounts: Sequence[AccountFacts]) -> AgentRow:
    first = accounts[0]
    return AgentRow(
        org=first.org,
        agent=first.agent,
        currency=first.currency,
        partition=first.partition,
        consumers=len(accounts),
        calls=sum(one.calls for one in accounts),
        open=show.total(one.open_amount for one in accounts),
        pending=show.total(one.pending_amount for one in accounts),
        settled=show.total(one.settled_amount for one in accounts),
        settlements=sum(one.settlements for one in accounts),
        settled_until_ms=max((one.settled_until_ms for one in accounts if one.settled_until_ms), default=None),
    )
