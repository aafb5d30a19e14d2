"""Limits of what a team spends in a month, and crossing them (docs/adr/0050).

A month's spending is what its bills state and what its open and pending hours count beside. A limit is crossed at the
record that brings the spending to its amount or above. That is stated once for each month, kind and amount: the
month's row keeps it, so that a restart, a replay or a move to another partition states nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from tables.counters import EXACT, NOTHING
from tables.usage.hourly import Crossed, HourKey, MonthKey, month_key
from tables.window import HOUR_MS, month_end

FAR = Decimal(10**26)
"""What is left of a budget whose limits are all crossed: no sum of a month comes near."""


class Limit(Protocol):
    """`kind`: soft or hard. `amount`: above zero, with at most 12 decimals, of each month."""

    @property
    def kind(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...


class Limits(Protocol):
    """Whoever knows the limits of teams. They may change at any time; a chunk is counted with those it began with."""

    def version(self) -> int:
        """Another number when any answer may be another one."""

    def has_limits(self) -> bool:
        """Whether any team has one."""

    def limits_of(self, team: str) -> Sequence[Limit]:
        """Those of a team, in each of its orgs by itself; the lowest amount first."""


class NoLimits:
    """Nobody has any."""

    def version(self) -> int:
        return 0

    def has_limits(self) -> bool:
        return False

    def limits_of(self, team: str) -> Sequence[Limit]:
        return ()


class Crossing(NamedTuple):
    """A limit that a record crossed, ready to be written down."""

    key: MonthKey
    limit: Limit
    cost: Decimal  # the month's spending, this record included
    at_ms: int  # the watermark
    event_id: str
    offset: int
    after: int  # so many bills of its chunk were stated before

    @property
    def crossed(self) -> Crossed:
        """What the month's row keeps of it."""
        return Crossed(self.limit.kind, self.limit.amount, self.at_ms)


class Budgets:
    """The months that have limits, by numbers: a fast path knows a budget by its number."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._version = limits.version()
        self._numbers: dict[MonthKey, int] = {}
        self.any = limits.has_limits()

    def renewed(self) -> bool:
        """Whether the limits may be others than before."""
        version, before = self._limits.version(), self._version
        if version != before:
            self._version, self.any = version, self._limits.has_limits()
        return version != before

    def number(self, key: HourKey) -> int | None:
        """The number of the budget that an hour counts against; None: it has no limit, and had none."""
        month = month_key(key)
        number = self._numbers.get(month)
        if number is None and self.any and self.limits(month):
            number = self._numbers[month] = len(self._numbers)
        return number

    def known(self, team: str) -> Sequence[Limit]:
        """All limits of a team, as they are now."""
        return self._limits.limits_of(team)

    def limits(self, month: MonthKey) -> list[Limit]:
        """The limits that hold for a month, as they are now."""
        return [limit for limit in self.known(month.team) if limit.currency == month.currency]


DAY = 24
"""So many hours tell the rate."""


class Pace(NamedTuple):
    """Spending an hour, and what the month comes to at that rate. Rounded half to even at the 12th decimal."""

    rate: Decimal
    forecast: Decimal


def pace(spent: Decimal, recent: Sequence[tuple[int, Decimal]], month: str, now_ms: int) -> Pace:
    """`recent`: the last `DAY` hours with usage, start and cost, up to `now_ms`. The rate is taken from the first of
    them on, over an hour at least. A month that is over comes to what was spent."""
    left_ms = max(0, month_end(month) - now_ms)
    if not recent or not left_ms:
        return Pace(NOTHING, spent)
    cost = NOTHING
    for _, amount in recent:
        cost = EXACT.add(cost, amount)
    elapsed_ms = max(HOUR_MS, now_ms - min(start_ms for start_ms, _ in recent))
    more = _part(cost, left_ms, elapsed_ms)
    return Pace(_part(cost, HOUR_MS, elapsed_ms), EXACT.add(spent, more))


def _part(cost: Decimal, some: int, of: int) -> Decimal:
    """cost × some / of, rounded once."""
    units = int(EXACT.scaleb(cost, 12)) * some
    whole, rest = divmod(units, of)
    whole += 2 * rest > of or (2 * rest == of and whole % 2)
    return EXACT.scaleb(Decimal(whole), -12)
