"""Add accounts up by agent, filter, sort and page through them: pure functions. What a partition has of a list is kept
while its accounts do not change.

An agent lives on one partition, so one worker has all of its accounts, and the workers' pages merge without adding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter
from typing import Any

from streamapp.facts.worker import AccountFacts
from streamapp.web import show
from streamapp.web.lists import keyset
from streamapp.web.lists.keyset import Key
from streamapp.web.lists.runs import Runs

SORTS = ("agent", "calls", "open", "pending", "settled")

Accounts = Runs[AccountFacts]


def by_partition() -> Accounts:
    """For the accounts of a worker, in the order of their partitions."""
    return Runs(lambda one: one.partition)


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

    @property
    def total(self) -> Decimal:
        """What all calls cost."""
        return show.total((self.open, self.pending, self.settled))


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
    sort, limit = params.get("sort") or "agent", keyset.limit_of(params.get("limit") or "50")
    if sort not in SORTS:
        raise ValueError(f"sort is one of {', '.join(SORTS)}")
    query = AgentsQuery(params.get("org", ""), params.get("agent", ""), sort, params.get("after", ""), limit)
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


def select(accounts: Iterable[AccountFacts], query: AgentsQuery, kept: Accounts) -> AgentsSlice:
    """One worker's part of a page. Safe in a thread. Only what is sorted by is added up of all; the rest, of the rows
    that are answered."""
    edge, question = _edge(query), replace(query, after="", limit=0)
    sorted_ = sorted(accounts, key=attrgetter("partition"))
    found = kept.each(sorted_, question, lambda run: _listed(run, query))
    runs = [(one.keys, keyset.ahead(one.keys, edge, _itself, False)) for one in found]
    nearest = [key[1:] for key in keyset.nearest(runs, query.limit + 1, _itself)]
    rows = [added(one.groups[names]) for names in nearest for one in found if names in one.groups]
    return AgentsSlice(rows, {one.partition: len(one.keys) for one in found if one.keys})


@dataclass(frozen=True, slots=True)
class _Listed:
    """One partition in a list: the accounts of each agent, and the keys of agents in order."""

    partition: int
    groups: dict[Names, list[AccountFacts]]
    keys: list[Key]


def _listed(run: list[AccountFacts], query: AgentsQuery) -> _Listed:
    org, agent = query.org.casefold(), query.agent.casefold()
    groups: dict[Names, list[AccountFacts]] = {}
    for one in run:
        names = one.agent, one.org, one.currency
        group = groups.get(names)
        if group is not None:
            group.append(one)
        elif (not org or org in one.org.casefold()) and (not agent or agent in one.agent.casefold()):
            groups[names] = [one]
    value = _VALUES[query.sort]
    return _Listed(run[0].partition, groups, sorted((value(group), *names) for names, group in groups.items()))


def _itself(key: Key) -> Key:
    return key


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
    rows = keyset.together([(worker, stale, part.rows) for worker, stale, part in parts], owned, key)
    matching = sum(
        n for _, stale, part in parts for partition, n in part.matching.items() if not (stale and partition in owned)
    )
    shown = rows[: query.limit]
    return AgentsPage(shown, matching, keyset.cursor(key(shown[-1][0])) if len(rows) > query.limit else "")


def _edge(query: AgentsQuery) -> Key | None:
    kind = int if query.sort in ("agent", "calls") else Decimal
    return keyset.parsed(query.after, tuple[kind, str, str, str])  # type: ignore[valid-type]


def added(accounts: Sequence[AccountFacts]) -> AgentRow:
    """The accounts of an agent in one currency; there is one at least."""
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
