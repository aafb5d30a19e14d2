"""Filter, sort and page through hours: pure functions, keyset paging, so that page 2,000 costs what page 1 costs.

Every row has a sort key that ascends and is unique. A page is the `limit` smallest keys behind a cursor; the pages of
several workers merge by the same key. Counts come per partition, because a worker that took a partition over makes
the last-known counts of its former owner void.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import compress
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from streamapp.web.workers.source import HourFacts

EVER_MS = 1 << 62
LIMIT_MAX = 500  # rows of a page: what a person can scroll and a browser lays out at once
SORTS = ("live", "hour", "org", "team", "state", "requests", "tokens", "cost")
STATES = ("", "open", "closed", "revised", "pending")
TEXT_SORTS = frozenset({"org", "team"})

Key = tuple[Any, ...]
T = TypeVar("T")


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


@dataclass(slots=True)
class _Count:
    states: dict[str, int] = field(default_factory=lambda: {"open": 0, "closed": 0, "revised": 0, "pending": 0})
    ahead: int = 0


class _Down:
    """Turns an ascending order round for text, which has no minus."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Down) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]


def sort_value(query: HoursQuery) -> Callable[[HourFacts], Any]:
    """Row → value of the sorted column, turned so that it ascends."""
    if query.sort in TEXT_SORTS:
        text = _TEXTS[query.sort]
        return (lambda row: _Down(text(row))) if query.descending else text
    if query.sort == "cost":  # unary minus would round to 28 digits
        return (lambda row: row.cost.copy_negate()) if query.descending else (lambda row: row.cost)
    sign = -1 if query.descending else 1
    if query.sort in _RANKS:  # few values: the hour goes into the number, so that most rows differ in it
        rank = _RANKS[query.sort]
        return lambda row: (sign * rank[row.state] << 48) - row.start_ms
    number = _NUMBERS[query.sort]
    return lambda row: sign * number(row)


def sort_key(query: HoursQuery) -> Callable[[HourFacts], Key]:
    """Row → key: the sorted column first, then newest hour, org, team, currency."""
    value = sort_value(query)
    return lambda row: (value(row), -row.start_ms, row.org, row.team, row.currency)


_TEXTS: dict[str, Callable[[HourFacts], str]] = {"org": lambda row: row.org, "team": lambda row: row.team}
_RANKS = {
    "live": {"open": 0, "closed": 1, "revised": 1},  # what still grows comes first
    "state": {"open": 0, "closed": 1, "revised": 2},
}
_NUMBERS: dict[str, Callable[[HourFacts], int]] = {
    "hour": lambda row: row.start_ms,
    "requests": lambda row: row.requests,
    "tokens": lambda row: row.total_tokens,
}


def cursor(key: Key) -> str:
    """A key as text for a link."""
    return msgspec.json.encode([part.text if isinstance(part, _Down) else part for part in key]).decode()


def parse_cursor(text: str, query: HoursQuery) -> Key | None:
    """Text of a link → key; None without one. Raises ValueError when it is not a cursor of this sort."""
    if not text:
        return None
    kind = {"org": str, "team": str, "cost": Decimal}.get(query.sort, int)
    shape = tuple[kind, int, str, str, str]  # type: ignore[valid-type]
    try:
        first, start, org, team, currency = msgspec.json.decode(text.encode("utf-8", "replace"), type=shape)
    except msgspec.MsgspecError:
        raise ValueError("the place to go on from is not one of this sort; start from the first page") from None
    head = _Down(first) if query.sort in TEXT_SORTS and query.descending else first
    return (head, start, org, team, currency)


def select(rows: Iterable[HourFacts], query: HoursQuery) -> HoursSlice:
    """One worker's part of a page. Linear in the rows, keeps about `limit` of them; safe in a thread."""
    value, key = sort_value(query), sort_key(query)
    edge = parse_cursor(query.before or query.after, query)
    nearest = _Nearest(query.limit + 1, backwards=bool(query.before))
    counts: dict[int, _Count] = {}
    for row in _named(rows, query):
        count = counts.get(row.partition)
        if count is None:
            count = counts[row.partition] = _Count()
        count.states[row.state] += 1
        if row.pending:
            count.states["pending"] += 1
        if query.state and (not row.pending if query.state == "pending" else row.state != query.state):
            continue
        sorted_by = value(row)
        if edge is not None:  # whole keys are made only where the column alone does not tell
            same = sorted_by == edge[0]
            ahead = key(row) < edge if same else sorted_by < edge[0]
            if ahead or (same and not query.before and key(row) == edge):
                count.ahead += 1
            if ahead != bool(query.before) or (same and key(row) == edge):
                continue
        if nearest.wants(sorted_by):
            nearest.add(key(row), row)
    return HoursSlice(nearest.rows(), [_tally(p, c) for p, c in counts.items()])


class _Nearest:
    """Keeps the `size` smallest keys, or the biggest ones (`backwards`), sorting only now and then."""

    def __init__(self, size: int, backwards: bool) -> None:
        self._size, self._backwards = size, backwards
        self._pairs: list[tuple[Key, HourFacts]] = []
        self._worst: Any = None
        self._slack = 4 * size + 500

    def wants(self, value: Any) -> bool:
        """False when a row with this column cannot be among the nearest any more."""
        if self._worst is None:
            return True
        return not (value < self._worst if self._backwards else self._worst < value)

    def add(self, key: Key, row: HourFacts) -> None:
        self._pairs.append((key, row))
        if len(self._pairs) > self._slack:
            self._cut()
            self._worst = self._pairs[-1][0][0]

    def rows(self) -> list[HourFacts]:
        """In ascending order."""
        self._cut()
        found = [row for _, row in self._pairs]
        return found[::-1] if self._backwards else found

    def _cut(self) -> None:
        self._pairs.sort(key=lambda pair: pair[0], reverse=self._backwards)
        del self._pairs[self._size :]


def _tally(partition: int, count: _Count) -> Tally:
    return Tally(partition, **count.states, ahead=count.ahead)


def _named(rows: Iterable[HourFacts], query: HoursQuery) -> Iterable[HourFacts]:
    if query.hour_ms is not None:
        hour = query.hour_ms
        rows = (row for row in rows if row.start_ms == hour)
    if query.from_ms or query.until_ms < EVER_MS:
        begin, end = query.from_ms, query.until_ms
        rows = (row for row in rows if begin <= row.start_ms < end)
    if query.org:
        rows = having(rows, "org", query.org)
    if query.team:
        rows = having(rows, "team", query.team)
    return rows


def having(rows: Iterable[T], name: str, text: str) -> list[T]:
    """Rows that have a text in this name, in any case. Few names stand in many rows: each is looked at once."""
    rows = list(rows)
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
    best: dict[tuple[Any, ...], tuple[HourFacts, str, bool]] = {}
    tallies: list[Tally] = []
    for worker, stale, part in sorted(parts, key=lambda part: part[1]):
        kept = [t for t in part.tallies if not (stale and t.partition in owned)]
        tallies.extend(kept)
        for row in part.rows:
            if not (stale and row.partition in owned):
                best.setdefault((row.org, row.team, row.currency, row.start_ms), (row, worker, stale))
    rows = sorted(best.values(), key=lambda item: key(item[0]))
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
        next=cursor(key(rows[-1][0])) if has_next else "",
        previous=cursor(key(rows[0][0])) if has_previous else "",
    )
