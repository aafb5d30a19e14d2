"""Exact money: decimals with 12 places, never a binary float, never the default decimal context (decision 5).

Decimal contexts belong to a thread or task and anybody may change theirs, so every operation here names its own.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Rounded

DECIMALS = 12
INTEGER_DIGITS_MAX = 18


def exact_context(prec: int) -> Context:
    """A context that raises where a result would have to be rounded."""
    return Context(
        prec=prec,
        rounding=ROUND_HALF_EVEN,
        Emin=-999_999,
        Emax=999_999,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[Inexact, Rounded, InvalidOperation],
    )


EXACT = exact_context(64)  # sums: 52 integer digits, far beyond anything that is ever billed
ROUND = Context(prec=64, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[InvalidOperation])
"""The only context of the project that rounds: a stated cost to 12 decimals."""
UNIT = Decimal("1E-12")
ZERO = Decimal("0E-12")

AMOUNT_END = Decimal(10**INTEGER_DIGITS_MAX)  # no amount of one event is as high

_PRICE_TEXT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
PRICE_PATTERN = r"^(-0(\.0+)?|(0|[1-9][0-9]*)(\.[0-9]+)?)([eE][+-]?[0-9]{1,3})?$"
PRICE_CHARS_MAX = 64  # 18 digits, a point and 12 decimals are 31
TEXT_CHARS = 52 + 1 + DECIMALS  # of an amount that is not negative
_MONEY_TEXT = re.compile(r"-?(0|[1-9][0-9]{0,51})\.[0-9]{12}", re.ASCII)
MONEY_PATTERN = r"^-?(0|[1-9][0-9]{0,51})\.[0-9]{12}$"


def rounded_cost(number: Decimal | int) -> Decimal:
    """The cost that a JSON number states, rounded half to even at the 12th decimal: exponent exactly -12; -0 is 0.
    The result differs from `number` where a digit was lost (decision 5).

    Raises ValueError, with the rest of a sentence that begins with the field's name: not finite, negative (however
    small), more than 18 integer digits after rounding.
    """
    amount = Decimal(number)
    if not amount.is_finite():
        raise ValueError("is not a finite number")
    if not amount:
        return ZERO
    if amount.is_signed():
        raise ValueError("is negative")
    if amount.adjusted() >= INTEGER_DIGITS_MAX:
        raise ValueError(f"has more than {INTEGER_DIGITS_MAX} integer digits")
    cost = ROUND.quantize(amount, UNIT) if amount.adjusted() >= -DECIMALS - 1 else ZERO
    if cost >= AMOUNT_END:
        raise ValueError(f"has more than {INTEGER_DIGITS_MAX} integer digits")
    return cost


def exact_cost(number: Decimal | int) -> Decimal:
    """As `rounded_cost`, but raises ValueError where a digit would be lost too. Trailing zeros are no digits."""
    cost = rounded_cost(number)
    if cost != number:
        raise ValueError(f"has more than {DECIMALS} decimals")
    return cost


def exact_price(text: str) -> Decimal:
    """The price that a text states, with exponent exactly -12. The text is a number as JSON spells it. A price is never
    rounded: it has at most 12 decimals, and trailing zeros are none.

    Raises ValueError as `exact_cost` does, and for any other text: `NaN`, `+1`, `.5`, spaces, more than 64 characters.
    """
    if len(text) > PRICE_CHARS_MAX or _PRICE_TEXT.fullmatch(text) is None:
        raise ValueError("is not a decimal number as text")
    return exact_cost(Decimal(text))


def exact_amount(price: Decimal, quantity: int) -> Decimal:
    """price × quantity, with exponent exactly -12, of a price that `exact_price` gave and up to 2^53 units.

    Raises ValueError where the product has more than 18 integer digits.
    """
    amount = EXACT.multiply(price, Decimal(quantity))
    if amount >= AMOUNT_END:
        raise ValueError(f"times quantity has more than {INTEGER_DIGITS_MAX} integer digits")
    return amount


def money_text(amount: Decimal) -> str:
    """Fixed-point with exactly 12 decimals: `Decimal("0.0038")` → `"0.003800000000"`. Zero has no sign.

    Raises decimal.Inexact, Rounded or InvalidOperation where 12 decimals or 52 integer digits cannot hold the amount.
    """
    text = str(amount)
    if text[-13:-12] == "." and "E" not in text and len(text) <= TEXT_CHARS:
        return text  # as most amounts are
    exact = EXACT.quantize(amount, UNIT)
    if not exact.is_finite():
        raise InvalidOperation(f"{amount} is not an amount")
    text = str(exact)  # much faster than `format`, but with an exponent where the amount is tiny
    return text if "E" not in text else format(exact, "f") if exact else "0.000000000000"


def money_of(text: str) -> Decimal:
    """The amount that `money_text` wrote, with exponent exactly -12. Raises ValueError for any other text."""
    if _MONEY_TEXT.fullmatch(text) is None:
        raise ValueError("is not a decimal string with exactly 12 decimals")
    return Decimal(text) or ZERO
