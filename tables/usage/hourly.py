"""The hourly usage row: one per (org, team, currency, UTC hour), with a line per (provider, model).

A row tells so many names apart (`Rules.names_max`): the first ones in the order of the log. All others count in one
line, `OTHER`. Once a row has that line no further name gets one of its own. So the names with a line are always the
first ones, whatever the limit is and was.

A row is open until its hour closes; closing states it (revision 0). What arrives later is stated again, as the next
revision with the difference (decisions 9 to 11).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from tables.counters import EXACT, NOTHING, Counters, Numbers
from tables.window import HOUR_MS, month_of

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


Lines = tuple[tuple[str, str, Counters], ...]
"""Provider, model and what they count, in the order of the log."""


class Written(NamedTuple):
    """What a row counts, by somebody who has written it down, and what it becomes when it is first stated."""

    read: Callable[[bytes], Lines]  # the lines of `value`
    totals: Counters
    key: bytes  # as it is stored
    value: bytes  # as it is stored, once all of it is stated
    bill_id: str
    bill: bytes  # as the bill has it


UNSTATED = Counters()
"""What a row without statements has stated. Nobody adds to it."""


class UsageRow:
    """Everything counted for one hour, and what of it was stated."""

    __slots__ = ("_lines", "first_offset", "key", "last_offset", "revision", "stated", "written")

    def __init__(self, key: HourKey) -> None:
        self.key = key
        self._lines: dict[Names, Counters] | None = {}  # None: they are in `written`
        self.written: Written | None = None
        self.first_offset = -1
        self.last_offset = -1
        self.revision: int | None = None  # None: nothing stated yet
        self.stated = UNSTATED  # totals of the newest revision; replaced, never changed

    @property
    def lines(self) -> dict[Names, Counters]:
        """The counts by provider and model, in the order in which they were made. To be changed by `count` alone, or
        while nothing is `written`."""
        if self._lines is None:
            assert self.written is not None, "a row counts something"
            read = self.written.read(self.written.value)
            self._lines = {(provider, model): counters for provider, model, counters in read}
        return self._lines

    def write(self, written: Written) -> None:
        """What the row counts was written down."""
        self.written, self._lines = written, None

    def line(self, provider: str, model: str) -> Counters:
        """The line of these names, made when it is not there."""
        return self.lines.setdefault((provider, model), Counters())

    def count(self, names: Names, numbers: Numbers, offset: int, names_max: int) -> bool:
        """Count a record. Returns whether it counts in the line of the others."""
        names = self.counted_as(names, names_max)
        self.written = None
        self.line(*names).add(numbers)
        if self.first_offset < 0:
            self.first_offset = offset
        self.last_offset = offset
        return names == OTHER

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
        return Counters.sum_of(self.lines.values()) if self.written is None else self.written.totals

    @property
    def events(self) -> int:
        """How many records are counted."""
        if self.written is not None:
            return self.written.totals.requests
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


class HourStatement(NamedTuple):
    """One bill or revision, ready to be written down."""

    key: HourKey
    revision: int
    stated_ms: int  # the mark that caused it
    totals: Counters
    delta: Counters
    counted: Written | Lines
    month: str
    running: MonthRow  # this statement included
    first_offset: int
    last_offset: int
    events: int

    @property
    def end_ms(self) -> int:
        """End of the hour, exclusive."""
        return self.key.start_ms + HOUR_MS

    @property
    def lines(self) -> Lines:
        """What it states by provider and model."""
        return self.counted.read(self.counted.value) if isinstance(self.counted, Written) else self.counted


def month_key(key: HourKey) -> MonthKey:
    """The month that an hour's deltas are summed into."""
    start_ms, org, team, currency = key
    return MonthKey(month_of(start_ms), org, team, currency)


def state(row: UsageRow, month: MonthRow, at_ms: int) -> tuple[HourStatement, MonthRow]:
    """State what the row holds: its next revision, and the month with the difference added.

    Changes the row: afterwards it is settled.
    """
    totals = row.totals()
    delta = totals if row.revision is None else totals - row.stated
    row.revision = 0 if row.revision is None else row.revision + 1
    row.stated = totals
    month = MonthRow(EXACT.add(month.cost, delta.cost), month.total_tokens + delta.total_tokens, month.crossed)
    counted = row.written or tuple([(*names, Counters(*line.numbers())) for names, line in row.lines.items()])
    period, first, last = month_of(row.key.start_ms), row.first_offset, row.last_offset
    statement = HourStatement(
        row.key, row.revision, at_ms, totals, delta, counted, period, month, first, last, totals.requests
    )
    return statement, month
