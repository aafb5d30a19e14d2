"""The hourly usage row: one per (org, team, currency, UTC hour), with a line per (provider, model).

A row tells so many names apart (`Rules.names_max`): the first ones in the order of the log. All others count in one
line, `OTHER`. Once a row has that line no further name gets one of its own. So the names with a line are always the
first ones, whatever the limit is and was.

A row is open until its hour closes; closing states it (revision 0). What arrives later is stated again, as the next
revision with the difference (decisions 9 to 11).
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from tables.counters import EXACT, NOTHING, Counters
from tables.window import HOUR_MS, month_of

EVERY = 1 << 62
"""A limit that nothing reaches."""

Names = tuple[str, str]
"""Provider and model."""

OTHER: Names = ("", "other")
"""The line of names that have none of their own. No event has an empty provider."""


class HourKey(NamedTuple):
    """Whose hour it is. Statements of one record go out in the order of these fields."""

    start_ms: int
    org: str
    team: str
    currency: str


class MonthKey(NamedTuple):
    """Whose month it is; `month` like `2025-01`."""

    month: str
    org: str
    team: str
    currency: str


class Line(Counters):
    """Counters of one (provider, model) that know their row, while it is open."""

    __slots__ = ("row",)

    row: UsageRow | None


UNSTATED = Counters()
"""What a row without statements has stated. Nobody adds to it."""


class UsageRow:
    """Everything counted for one hour, and what of it was stated."""

    __slots__ = ("first_offset", "key", "last_offset", "lines", "revision", "stated")

    def __init__(self, key: HourKey) -> None:
        self.key = key
        self.lines: dict[Names, Line] = {}  # in the order in which they were made
        self.first_offset = -1
        self.last_offset = -1
        self.revision: int | None = None  # None: nothing stated yet
        self.stated = UNSTATED  # totals of the newest revision; replaced, never changed

    def line(self, provider: str, model: str) -> Line:
        """The line of these names, made when it is not there."""
        line = self.lines.get((provider, model))
        if line is None:
            line = self.lines[provider, model] = Line()
            line.row = self
        return line

    def counted_as(self, names: Names, names_max: int) -> Names:
        """The names of the line that usage of these names counts in: their own, or `OTHER`."""
        if names in self.lines or (OTHER not in self.lines and len(self.lines) < names_max):
            return names
        return OTHER

    @property
    def others(self) -> int:
        """How many records are counted in the line of the others."""
        line = self.lines.get(OTHER)
        return 0 if line is None else line.requests

    def totals(self) -> Counters:
        """The sum of the lines."""
        return Counters.sum_of(self.lines.values())

    @property
    def events(self) -> int:
        """How many records are counted."""
        events = 0
        for line in self.lines.values():  # `sum` of a generator takes twice as long
            events += line.requests
        return events

    @property
    def unstated(self) -> Decimal:
        """The cost of what is counted and not stated yet."""
        cost = NOTHING
        for line in self.lines.values():
            cost = EXACT.add(cost, line.cost)
        return EXACT.subtract(cost, self.stated.cost)

    @property
    def settled(self) -> bool:
        """Whether everything counted has been stated."""
        return self.revision is not None and self.stated.requests == self.events


class Crossed(NamedTuple):
    """A limit of a month's spending that was reached, and the watermark then (`budget.py`)."""

    kind: str
    amount: Decimal
    at_ms: int


class MonthRow(NamedTuple):
    """Sum of every delta stated so far for a team in a month: what `running_total` shows. And the limits that were
    crossed, in the order in which they were."""

    cost: Decimal = NOTHING
    total_tokens: int = 0
    crossed: tuple[Crossed, ...] = ()


class Statement(NamedTuple):
    """One bill or revision, ready to be written down."""

    key: HourKey
    revision: int
    stated_ms: int  # the mark that caused it
    totals: Counters
    delta: Counters
    lines: tuple[tuple[str, str, Counters], ...]  # (provider, model, counters), in the order of the log
    month: str
    running: MonthRow  # this statement included
    first_offset: int
    last_offset: int
    events: int

    @property
    def end_ms(self) -> int:
        """End of the hour, exclusive."""
        return self.key.start_ms + HOUR_MS


def month_key(key: HourKey) -> MonthKey:
    """The month that an hour's deltas are summed into."""
    return MonthKey(month_of(key.start_ms), key.org, key.team, key.currency)


def state(row: UsageRow, month: MonthRow, at_ms: int) -> tuple[Statement, MonthRow]:
    """State what the row holds: its next revision, and the month with the difference added.

    Changes the row: afterwards it is settled.
    """
    totals = row.totals()
    delta = totals if row.revision is None else totals - row.stated
    row.revision = 0 if row.revision is None else row.revision + 1
    row.stated = totals
    month = MonthRow(EXACT.add(month.cost, delta.cost), month.total_tokens + delta.total_tokens, month.crossed)
    lines = tuple([(provider, model, Counters(*line.numbers())) for (provider, model), line in row.lines.items()])
    statement = Statement(
        key=row.key,
        revision=row.revision,
        stated_ms=at_ms,
        totals=totals,
        delta=delta,
        lines=lines,
        month=month_of(row.key.start_ms),
        running=month,
        first_offset=row.first_offset,
        last_offset=row.last_offset,
        events=totals.requests,
    )
    return statement, month
