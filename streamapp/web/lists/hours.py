"""Filter, sort and page through hours: pure functions. What an hour has of a list is kept while its rows do not change.

Counts come per partition, because a worker that took a partition over makes the last-known counts of its former owner
void.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from heapq import nsmallest
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from streamapp.facts.worker import HourFacts
from streamapp.web.lists import keyset
from streamapp.web.lists.keyset import Down, Key
from streamapp.web.lists.runs import Runs

EVER_MS = 1 << 62
SORTS = ("live", "hour", "org", "team", "state", "requests", "tokens", "cost")
STATES = ("", "open", "closed", "revised", "pending")
TEXT_SORTS = frozenset({"org", "team"})

Hours = Runs[HourFacts]
T = TypeVar("T")


def by_hour() -> Hours:
    """For the hours of a worker, newest first."""
    return Runs(lambda row: -row.start_ms)


@dataclass(frozen=True, slots=True)
class HoursQuery:
    """What a person asks for. `after`/`before` are cursors: rows strictly behind or ahead of that key."""

    org: str = ""  # a part of the name, any case; empty: all
    team: str = ""
    hour_ms: int | None = None
    from_ms: int = 0  # hours that start in [from, until)
    until_ms: int = EVER_MS
    state: str = ""
    sort: str = "live"
    descending: bool = False
    after: str = ""
    before: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one partition: how many rows match all filters but state, by state; how many match all and stand ahead."""

    partition: int
    open: int = 0
    closed: int = 0
    revised: int = 0
    pending: int = 0
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class HoursSlice:
    """One worker's answer: up to `limit` + 1 rows (one more tells that there is a next page) and its tallies."""

    rows: list[HourFacts]
    tallies: list[Tally]


def hours_query(params: dict[str, str]) -> HoursQuery:
    """Text of a link → query. Raises ValueError with one sentence that says what is possible."""
    sort, state = params.get("sort") or "live", params.get("state", "")
    if sort not in SORTS:
        raise ValueError(f"sort is one of {', '.join(SORTS)}")
    if state not in STATES:
        raise ValueError(f"state is one of {', '.join(filter(None, STATES))}, or empty for all")
    order = params.get("order") or ("asc" if sort in {"live", "org", "team", "state"} else "desc")
    if order not in {"asc", "desc"}:
        raise ValueError("order is asc or desc")
    limit, hour = keyset.limit_of(params.get("limit") or "50"), params.get("hour_ms", "")
    query = HoursQuery(
        org=params.get("org", ""),
        team=params.get("team", ""),
        hour_ms=int(hour) if hour else None,
        from_ms=int(params.get("from_ms") or 0),
        until_ms=int(params.get("until_ms") or EVER_MS),
        state=state,
        sort=sort,
        descending=order == "desc",
        after=params.get("after", ""),
        before=params.get("before", ""),
        limit=limit,
    )
    parse_cursor(query.after, query)
    parse_cursor(query.before, query)
    return query


def sort_key(query: HoursQuery) -> Callable[[HourFacts], Key]:
    """Row → key, ascending and unique: the sorted column first, then newest hour, org, team, currency."""
    value, down = _COLUMNS[query.sort], query.descending
    turned: Callable[[Any], Any]
    if query.sort in ("live", "state"):  # the hour is in the number, as cursors in links have it
        sign = -1 if down else 1
        return lambda row: ((sign * value(row) << 48) - row.start_ms, -row.start_ms, row.org, row.team, row.currency)
    if query.sort in TEXT_SORTS:
        turned = Down if down else str
    elif query.sort == "cost":  # unary minus would round to 28 digits
        turned = Decimal.copy_negate if down else Decimal
    else:
        turned = int.__neg__ if down else int
    return lambda row: (turned(value(row)), -row.start_ms, row.org, row.team, row.currency)


_COLUMNS: dict[str, Callable[[HourFacts], Any]] = {
    "live": lambda row: row.state != "open",  # what still grows comes first
    "state": lambda row: ("open", "closed", "revised").index(row.state),
    "hour": attrgetter("start_ms"),
    "org": attrgetter("org"),
    "team": attrgetter("team"),
    "requests": attrgetter("requests"),
    "tokens": attrgetter("total_tokens"),
    "cost": attrgetter("cost"),
}


def parse_cursor(text: str, query: HoursQuery) -> Key | None:
    """Text of a link → key; None without one. Raises ValueError when it is not a cursor of this sort."""
    kind = {"org": str, "team": str, "cost": Decimal}.get(query.sort, int)
    edge = keyset.parsed(text, tuple[kind, int, str, str, str])  # type: ignore[valid-type]
    if edge is not None and query.sort in TEXT_SORTS and query.descending:
        return (Down(edge[0]), *edge[1:])
    return edge


@dataclass(frozen=True, slots=True)
class _Listed:
    """One hour in a list: rows that match, in order, and how many on each partition; and how many match all filters but
    state, by partition, state, and whether they are pending."""

    rows: list[HourFacts]
    partitions: Counter[int]
    states: Counter[tuple[int, str, bool]]


def select(rows: list[HourFacts], query: HoursQuery, kept: Hours) -> HoursSlice:
    """One worker's part of a page; `rows`: newest first. Safe in a thread."""
    key, is_before = sort_key(query), bool(query.before)
    edge = parse_cursor(query.before or query.after, query)
    question = replace(query, hour_ms=None, from_ms=0, until_ms=EVER_MS, after="", before="", limit=0)
    hours = kept.each(
        rows, question, lambda run: _listed(run, query, key), within(query.from_ms, query.until_ms, query.hour_ms)
    )
    places = [keyset.ahead(hour.rows, edge, key, is_before) for hour in hours]
    ahead: Counter[int] = Counter()
    states: Counter[tuple[int, str, bool]] = Counter()
    for hour, at in zip(hours, places, strict=True):
        states.update(hour.states)
        if at == len(hour.rows):
            ahead.update(hour.partitions)
        elif at:
            ahead.update(row.partition for row in hour.rows[:at])
    runs = zip((hour.rows for hour in hours), places, strict=True)
    return HoursSlice(keyset.nearest(runs, query.limit + 1, key, is_before), _tallies(states, ahead))


def within(from_ms: int, until_ms: int, hour_ms: int | None = None) -> Callable[[int], bool]:
    """Whether an hour is asked for, by the name of its run."""
    return lambda name: from_ms <= -name < until_ms and hour_ms in (None, -name)


def _listed(run: list[HourFacts], query: HoursQuery, key: Callable[[HourFacts], Key]) -> _Listed:
    found = named(run, query.org, query.team)
    states = Counter(map(attrgetter("partition", "state", "pending"), found))
    if query.state == "pending":
        found = [row for row in found if row.pending]
    elif query.state:
        found = [row for row in found if row.state == query.state]
    return _Listed(sorted(found, key=key), Counter(row.partition for row in found), states)


def _tallies(states: Counter[tuple[int, str, bool]], ahead: Counter[int]) -> list[Tally]:
    counts: dict[int, Counter[str]] = {}
    for (partition, state, is_pending), count in states.items():
        counted = counts.setdefault(partition, Counter())
        counted[state] += count
        counted["pending"] += count * is_pending
    return [Tally(partition, **counted, ahead=ahead[partition]) for partition, counted in counts.items()]


def named(rows: list[HourFacts], org: str, team: str) -> list[HourFacts]:
    """Rows that have these texts in their names."""
    for name, text in (("org", org), ("team", team)):
        rows = having(rows, name, text) if text else rows
    return rows


class Named(NamedTuple):
    """A team and its newest hour."""

    start_ms: int
    org: str
    team: str


def names(rows: list[HourFacts], text: str, most: int, kept: Hours) -> list[Named]:
    """Teams that have a text in their name or their org's; those with the newest hours first. `rows`: newest first."""
    wanted, newest = text.casefold(), dict[tuple[str, str], int]()
    for hour in reversed(kept.each(rows, "names", lambda run: dict.fromkeys(map(_NAMES, run), run[0].start_ms))):
        newest.update(hour)
    found = (Named(at_ms, *one) for one, at_ms in newest.items() if any(wanted in name.casefold() for name in one))
    return nsmallest(most, found, key=newest_first)


_NAMES = attrgetter("org", "team")


def newest_first(one: Named) -> tuple[int, str, str]:
    """The order of teams."""
    return -one.start_ms, one.org, one.team


def having(rows: list[T], name: str, text: str) -> list[T]:
    """Rows that have a text in this name, in any case. Few names stand in many rows: each is looked at once."""
    wanted, names = text.casefold(), list(map(attrgetter(name), rows))
    fits = {one: wanted in one.casefold() for one in set(names)}
    return list(compress(rows, map(fits.__getitem__, names)))


@dataclass(frozen=True, slots=True)
class HoursPage:
    """A merged page. `rows` carry the name of their worker and whether the row is last-known only."""

    rows: list[tuple[HourFacts, str, bool]]
    counts: dict[str, int]
    matching: int
    first: int  # position of the first row, from 1; 0 when there is none
    next: str  # cursor, or empty
    previous: str


def merge(parts: Sequence[tuple[str, bool, HoursSlice]], owned: frozenset[int], query: HoursQuery) -> HoursPage:
    """Slices of several workers → one page. `parts`: (worker, stale, slice); `owned`: partitions of fresh workers.

    What a stale worker knew of a partition that a fresh one owns now is dropped: it was taken over.
    """
    key = sort_key(query)
    rows = keyset.together([(worker, stale, part.rows) for worker, stale, part in parts], owned, key)
    tallies = [t for _, stale, part in parts for t in part.tallies if not (stale and t.partition in owned)]
    more = len(rows) > query.limit
    rows = rows[-query.limit :] if query.before else rows[: query.limit]
    counts = {state: sum(getattr(t, state) for t in tallies) for state in ("open", "closed", "revised", "pending")}
    matching = counts[query.state] if query.state else counts["open"] + counts["closed"] + counts["revised"]
    ahead = sum(t.ahead for t in tallies) - (len(rows) if query.before else 0)
    has_next = bool(rows) and (bool(query.before) or more)
    has_previous = bool(rows) and (more if query.before else ahead > 0)
    return HoursPage(
        rows=rows,
        counts=counts,
        matching=matching,
        first=ahead + 1 if rows else 0,
        next=keyset.cursor(key(rows[-1][0])) if has_next else "",
        previous=keyset.cursor(key(rows[0][0])) if has_previous else "",
    )
