"""Sums of usage by what people ask for: pure functions. Each worker adds up its own partitions; sums of several merge.
What an hour comes to is kept while its rows do not change.

A row counts in the span that is asked for, and may count in the one before, which it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import chain
from operator import attrgetter

from streamapp.facts.worker import HourFacts
from streamapp.schemas.billing import COUNTERS
from streamapp.web import show
from streamapp.web.lists.hours import Hours, named, within

DAY_MS = 86_400_000
BY = ("", "hour", "day", "org", "team", "model")
GROUPS_MAX = 2_000  # of one partition, by cost; more are counted and not told
OTHERS = ("…",)
"""The name of all groups beyond."""

Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SumsQuery:
    """What is added up: rows whose names contain `org` and `team`, of hours that start in [from, until). `before_ms`:
    so long before lies the start of the span that it is compared with, which ends at `before_until_ms`; None: none."""

    by: str = ""
    org: str = ""
    team: str = ""
    model: str = ""
    from_ms: int = 0
    until_ms: int = 1 << 62
    before_from_ms: int | None = None
    before_until_ms: int = 0


@dataclass(slots=True)
class Sum:
    """Counters of some hours."""

    hours: int = 0
    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal = Decimal(0)
    open_cost: Decimal = Decimal(0)  # of the cost: of hours that still count
    pending_cost: Decimal = Decimal(0)  # of the cost: what came late and is on no bill yet

    @property
    def billed(self) -> Decimal:
        """Of the cost: what bills state."""
        return show.EXACT.subtract(self.cost, show.EXACT.add(self.open_cost, self.pending_cost))

    def add(self, other: Sum) -> None:
        """Count as much again."""
        self.hours += other.hours
        self.requests += other.requests
        self.errors += other.errors
        self.cache_hits += other.cache_hits
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.total_tokens += other.total_tokens
        self.cost = show.EXACT.add(self.cost, other.cost)
        self.open_cost = show.EXACT.add(self.open_cost, other.open_cost)
        self.pending_cost = show.EXACT.add(self.pending_cost, other.pending_cost)

    def count(self, rows: Sequence[HourFacts]) -> None:
        """Count these, column by column: rows are many."""
        if not rows:
            return
        *columns, costs, pending = zip(*map(_COLUMNS, rows), strict=True)
        opened = (row.cost for row in rows if row.state == "open" and not row.pending)
        found = Sum(len(rows), cost=show.total(costs), open_cost=show.total(opened), pending_cost=show.total(pending))
        for name, column in zip(COUNTERS, columns, strict=True):
            setattr(found, name, sum(column))
        self.add(found)


_COLUMNS = attrgetter(*COUNTERS, "cost", "pending_cost")


@dataclass(slots=True)
class HourSum(Sum):
    """Rows of one hour, one partition and one currency."""

    start_ms: int = 0
    partition: int = 0
    currency: str = ""


@dataclass(slots=True)
class Line:
    """A group in one currency, now and before."""

    group: Group
    currency: str
    now: Sum = field(default_factory=Sum)
    before: Sum = field(default_factory=Sum)

    def add(self, other: Line) -> None:
        """Count as much again."""
        self.now.add(other.now)
        self.before.add(other.before)


@dataclass(slots=True)
class PartSums:
    """Of one partition. `all`: by currency alone. `series`: (start of the hour, currency, cost) in the span."""

    partition: int
    all: list[Line] = field(default_factory=list)
    groups: list[Line] = field(default_factory=list)
    series: list[tuple[int, str, Decimal]] = field(default_factory=list)


Row = tuple[HourFacts | HourSum, Group]
"""An hour of a team, or what one model has of it, or several teams' together; and its group."""


def group_of(by: str) -> Callable[[HourFacts], Group]:
    """Row → its group, for whatever a row says by itself: not its model."""
    told = cache(show.rfc3339)  # a month has few hours
    return {
        "": lambda row: (),
        "hour": lambda row: (told(row.start_ms),),
        "day": lambda row: (told(row.start_ms - row.start_ms % DAY_MS)[:10],),
        "org": lambda row: (row.org,),
        "team": lambda row: (row.org, row.team),
    }[by]


def wanted(rows: list[HourFacts], query: SumsQuery, kept: Hours) -> list[HourFacts]:
    """The rows that count at all; `rows`: newest first."""
    question = "wanted", query.org, query.team
    return list(chain.from_iterable(kept.each(rows, question, lambda run: named(run, *question[1:]), _span(query))))


def of_hours(rows: list[HourFacts], query: SumsQuery, kept: Hours) -> list[PartSums]:
    """Rows → sums, by partition, for whatever a row says by itself. Safe in a thread."""
    group = group_of(query.by)
    if query.by in ("team", "org"):  # which are in an hour once, or nearly so: there is little to keep
        return add_up(((row, group(row)) for row in wanted(rows, query, kept)), query)
    question = "sums", query.by, query.org, query.team
    hours = kept.each(rows, question, lambda run: _of_hour(named(run, *question[2:]), group), _span(query))
    return add_up(chain.from_iterable(hours), query)


def _of_hour(run: list[HourFacts], group_of: Callable[[HourFacts], Group]) -> list[Row]:
    found: dict[tuple[Group, int, str], list[HourFacts]] = {}
    for row in run:
        found.setdefault((group_of(row), row.partition, row.currency), []).append(row)
    made: list[Row] = []
    for (group, partition, currency), rows in found.items():
        one = HourSum(start_ms=run[0].start_ms, partition=partition, currency=currency)
        one.count(rows)
        made.append((one, group))
    return made


def _span(query: SumsQuery) -> Callable[[int], bool]:
    begin = query.from_ms if query.before_from_ms is None else min(query.from_ms, query.before_from_ms)
    return within(begin, query.until_ms)


def add_up(rows: Iterable[Row], query: SumsQuery) -> list[PartSums]:
    """Rows → sums, by partition. Linear; safe in a thread."""
    lines: dict[tuple[int, Group, str], tuple[list[HourFacts | HourSum], list[HourFacts | HourSum]]] = {}
    series: dict[tuple[int, int, str], Decimal] = {}
    again: dict[tuple[int, str], list[int]] = {}  # hours that came before, with another model: now, in the span before
    hours: set[tuple[str, str, str, int]] = set()
    begin, end, before_end, add = query.from_ms, query.until_ms, query.before_until_ms, show.EXACT.add
    before = before_end if query.before_from_ms is None else query.before_from_ms
    by_model = query.by == "model" or bool(query.model)
    for row, group in rows:
        start, number, currency = row.start_ms, row.partition, row.currency
        line = lines.get((number, group, currency))
        if line is None:
            line = lines[number, group, currency] = [], []
        is_now, is_before = begin <= start < end, before <= start < before_end
        if is_now:
            line[0].append(row)
            at = number, start, currency
            cost = series.get(at)
            series[at] = row.cost if cost is None else add(cost, row.cost)
        if is_before:
            line[1].append(row)
        if by_model and isinstance(row, HourFacts):
            hour = row.org, row.team, currency, start
            if hour in hours:
                known = again.setdefault((number, currency), [0, 0])
                known[0], known[1] = known[0] + is_now, known[1] + is_before
            hours.add(hour)
    parts: dict[int, PartSums] = {}
    for (number, group, currency), (of_now, of_before) in lines.items():
        line_of = Line(group, currency, _added(of_now), _added(of_before))
        parts.setdefault(number, PartSums(number)).groups.append(line_of)
    for (number, start, currency), cost in series.items():
        parts[number].series.append((start, currency, cost))
    for part in parts.values():
        part.all = _together(part, again)
        part.groups = _most(part.groups)
    return list(parts.values())


def _added(rows: Iterable[HourFacts | HourSum]) -> Sum:
    found, single = Sum(), list[HourFacts]()
    for row in rows:
        if isinstance(row, HourSum):
            found.add(row)
        else:
            single.append(row)
    found.count(single)
    return found


def by_currency(lines: Iterable[Line], group: Group = ()) -> dict[str, Line]:
    """Currency → all of these in one line."""
    found: dict[str, Line] = {}
    for line in lines:
        found.setdefault(line.currency, Line(group, line.currency)).add(line)
    return found


def _together(part: PartSums, again: Mapping[tuple[int, str], Sequence[int]]) -> list[Line]:
    """All groups of a currency in one line, each hour counted once."""
    alls = by_currency(part.groups)
    for currency, into in alls.items():
        now, before = again.get((part.partition, currency), (0, 0))
        into.now.hours, into.before.hours = into.now.hours - now, into.before.hours - before
    return list(alls.values())


def _most(lines: list[Line]) -> list[Line]:
    """The groups that cost most; all others together in one of each currency."""
    lines.sort(key=lambda line: (max(line.now.cost, line.before.cost).copy_negate(), line.group))
    return [*lines[:GROUPS_MAX], *by_currency(lines[GROUPS_MAX:], OTHERS).values()]


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums of all workers. Lines are sorted by what they cost."""

    all: list[Line]
    groups: list[Line]
    series: dict[str, dict[int, Decimal]]  # currency → start of the hour → cost


def merge(parts: Sequence[tuple[bool, list[PartSums]]], owned: frozenset[int]) -> Usage:
    """Sums of several workers → one. `parts`: (stale, sums). What a stale worker knew of a partition that a fresh one
    owns now is dropped; so is the second of two who claim one."""
    alls: dict[tuple[Group, str], Line] = {}
    groups: dict[tuple[Group, str], Line] = {}
    series: dict[str, dict[int, Decimal]] = {}
    taken: set[int] = set()
    for stale, sums in sorted(parts, key=lambda part: part[0]):
        mine = [part for part in sums if part.partition not in taken and not (stale and part.partition in owned)]
        taken.update(part.partition for part in mine)
        for part in mine:
            for known, lines in ((alls, part.all), (groups, part.groups)):
                for line in lines:
                    known.setdefault((line.group, line.currency), Line(line.group, line.currency)).add(line)
            for start, currency, cost in part.series:
                at = series.setdefault(currency, {})
                at[start] = show.EXACT.add(at.get(start, Decimal(0)), cost)
    return Usage(_by_cost(alls), _by_cost(groups), series)


def _by_cost(lines: dict[tuple[Group, str], Line]) -> list[Line]:
    return sorted(lines.values(), key=lambda line: (line.now.cost.copy_negate(), line.group, line.currency))
