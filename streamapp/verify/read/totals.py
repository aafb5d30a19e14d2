"""The counters of usage, summed exactly, and what a statement says it covers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from operator import add, sub
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import astuple

from streamapp.verify.read.event import EXACT, ZERO

if TYPE_CHECKING:
    Money = Decimal
else:

    class Money(Decimal):
        """In a statement: a text with exactly 12 decimals."""


_MONEY = re.compile(r"-?(0|[1-9]\d{0,99})\.\d{12}", re.ASCII)


class Totals(msgspec.Struct, frozen=True):
    """The counters of one event, of a line of a bill, or of a bill. Sums are exact."""

    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: Money

    def plus(self, other: Totals) -> Totals:
        (*mine, cost), (*others, more) = astuple(self)[:7], astuple(other)[:7]
        return Totals(*(*map(add, mine, others), EXACT.add(cost, more)))

    def minus(self, other: Totals) -> Totals:
        (*mine, cost), (*others, less) = astuple(self), astuple(other)
        return Totals(*(*map(sub, mine, others), EXACT.subtract(cost, less)))

    def amounts(self, currency: str, *names: str) -> dict[str, Decimal | int]:
        """What a report sums by hour, beside the number of events: these counters, and the cost."""
        return {**{name: getattr(self, name) for name in names}, f"cost {currency}": self.cost}


NOTHING = Totals(0, 0, 0, 0, 0, 0, ZERO)


class Coverage(msgspec.Struct):
    """The records that a statement says it counts."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    events: int


def total(lines: Iterable[Totals]) -> Totals:
    whole = NOTHING
    for line in lines:
        whole = whole.plus(line)
    return whole


def amount(value: object) -> Decimal | int:
    """A counter, or money: a text with exactly 12 decimals. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _MONEY.fullmatch(value):
        raise ValueError(f"{value!r} is not money with exactly 12 decimals")
    return Decimal(value)


def money(type_: type, value: object) -> Any:
    """msgspec's hook for `Money`. Raises ValueError."""
    if type_ is not Money or not isinstance(value, str):
        raise ValueError(f"{value!r} is not money with exactly 12 decimals")
    return Money(amount(value))
