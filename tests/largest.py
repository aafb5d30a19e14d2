"""The largest rows and statements that the limits of names allow: the longest names, the widest numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from verify_logs import TEN

from streamapp.meters.usage import statement
from streamapp.schemas.fields import NAME_MAX, TOKENS_MAX
from tables.calls.settlement import Account, AccountRow, MethodSum, Payment
from tables.usage.hourly import OTHER, HourKey, MonthRow, UsageRow, state

HUGE = 10**30
MONEY = Decimal("9" * 40 + "." + "9" * 12)


def names(count: int) -> Iterator[str]:
    """The longest names: each character is six bytes in JSON, then four in UTF-8 (in MessagePack)."""
    for number in range(count):
        digits = "".join(chr(1 + int(digit)) for digit in f"{number:04d}")
        yield digits.ljust(NAME_MAX, "\x01")


def wide(count: int) -> Iterator[str]:
    for number in range(count):
        yield "".join(chr(0x1F600 + int(digit)) for digit in f"{number:04d}").ljust(NAME_MAX, "\U0001f600")


def largest_row(name_of: Callable[[int], Iterator[str]], count: int) -> UsageRow:
    longest = next(iter(names(1)))
    row = UsageRow(HourKey(TEN, longest, longest, "C" * 16))
    for name in name_of(count):
        row.line(name, name)
    row.line(*OTHER)
    for line in row.lines.values():
        line.requests = line.errors = line.cache_hits = TOKENS_MAX
        line.prompt_tokens = line.completion_tokens = HUGE
        line.cost = MONEY
    row.first_offset = row.last_offset = (1 << 62) - 1
    return row


def largest_statement(count: int) -> bytes:
    row = largest_row(names, count)
    stated, _ = state(row, MonthRow(MONEY, HUGE), TEN)
    return statement.event(stated, "llm_usage", 7)[1]


def largest_account(name_of: Callable[[int], Iterator[str]], count: int) -> AccountRow:
    longest = next(iter(names(1)))
    row = AccountRow(Account(longest, longest, longest, "C" * 16))
    row.wait(TEN)
    for methods in (row.pending.methods, row.settled):
        methods |= {name: MethodSum(TOKENS_MAX, MONEY) for name in [*name_of(count), ""]}
    row.pending.cover(1 << 61, 1 << 61, Payment(longest, 1 << 62, longest, longest))
    return row
