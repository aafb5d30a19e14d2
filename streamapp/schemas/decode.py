"""One record's value → a usage event, exactly, in about a microsecond.

Two readers. The fast one is a msgspec struct; what it takes is accepted. What it refuses is judged by the models
(`judge`), which alone give reasons. So the fast reader may refuse too much, never too little: it must accept nothing
that the models refuse, and with equal values. `tests/property/test_decode.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from streamapp.schemas.judge import judge_usage
from streamapp.schemas.money import COST, DECIMALS, UNIT, ZERO
from streamapp.schemas.rejected import Reason, Rejected
from streamapp.schemas.strict_json import DEPTH_MAX
from streamapp.schemas.timestamp import parse_ms, seconds, tails
from streamapp.schemas.usage import Usage, UsageData

__all__ = ["Reason", "Rejected", "Usage", "UsageData", "decode_usage"]

Judge = Callable[[bytes | None], Usage | Rejected]

# One context from the digits to the amount: more than 30 digits, or exponents beyond reason, raise at once.
_decode = msgspec.json.Decoder(Usage, float_hook=COST.create_decimal).decode
_quantize = COST.quantize
_FLAT_MAX = 2 * DEPTH_MAX  # so few bytes cannot open and close more than DEPTH_MAX brackets


def decode_usage(raw: bytes | None, judge: Judge = judge_usage) -> Usage | Rejected:
    """The usage event in a record's value, or why it is refused; the reasons are those of `judge.judge_usage`.

    Never raises, whatever the bytes are; the same bytes always give an equal result. `judge` is asked about
    everything that the fast reader does not take.
    """
    if raw is None:
        return judge(raw)
    try:
        usage = _decode(raw)
        data = usage.data
        if (
            is_well_formed(raw, usage.id)
            and data.total_tokens == data.prompt_tokens + data.completion_tokens
            and (data.currency == "USD" or is_currency(data.currency))
        ):
            usage.at_ms = moment_of(usage.timestamp)
            cost: Any = data.cost_usd
            # Raises for more than 12 decimals, trailing zeros included, and for more than 18 integer digits.
            data.cost_usd = exact = _quantize(cost, UNIT)
            # It takes an int, too, and to Python true is one; false falls to `_is_zero`.
            if cost and cost is not True and not exact.is_signed():
                return usage
            if _is_zero(cost):
                data.cost_usd = ZERO
                return usage
    except Exception:
        # Whatever it was, the models decide; even running out of stack inside the C parser is only a refusal.
        pass
    return judge(raw)


def is_well_formed(raw: bytes, name: str) -> bool:
    """Whether bytes that msgspec took are JSON for everybody, and the id in them is visible ASCII.

    May raise UnicodeDecodeError."""
    return (
        # Without escapes and DEL (0x7f) all that msgspec lets into ASCII text is 0x20 to 0x7e.
        " " not in name if raw.isascii() and 0x5C not in raw and 0x7F not in raw else _is_visible(raw, name)
    ) and (len(raw) <= _FLAT_MAX or raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX)


def is_currency(text: str) -> bool:
    """Whether a text of the right length has capital letters and digits only."""
    return text.isascii() and text.isalnum() and text.upper() == text


def moment_of(stamp: str) -> int:
    """`timestamp.parse_ms`; raises ValueError for what is not a timestamp."""
    try:
        return seconds[stamp[:19]] + tails[stamp[19:]]
    except KeyError:
        at_ms = parse_ms(stamp)
    if at_ms is None:
        raise ValueError
    return at_ms


def _is_visible(raw: bytes, name: str) -> bool:
    raw.decode()  # msgspec skips unknown fields without looking at their UTF-8
    return " " not in name and name.isascii() and name.isprintable()


def _is_zero(cost: object) -> bool:
    if type(cost) is Decimal:
        exponent = cost.as_tuple().exponent
        # quantize takes a zero with any number of decimals; create_decimal clamps exponents beyond reason.
        return not cost and isinstance(exponent, int) and -DECIMALS <= exponent <= 0
    return type(cost) is int and cost == 0
