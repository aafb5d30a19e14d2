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

from streamapp.schemas.fields import measured
from streamapp.schemas.judging.judge import judge_usage
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.judging.usage import Usage, UsageData
from streamapp.schemas.values.money import AMOUNT_END, EXACT, ROUND, UNIT, ZERO
from streamapp.schemas.values.strict_json import DEPTH_MAX
from streamapp.schemas.values.timestamp import parse_ms, seconds, tails

__all__ = ["Reason", "Rejected", "Usage", "UsageData", "decode_usage"]

Judge = Callable[[bytes | None], Usage | Rejected]

# Every digit up to the rounding: more than 64 digits, or exponents beyond reason, raise at once.
_decode = msgspec.json.Decoder(Usage, float_hook=EXACT.create_decimal).decode
_quantize = ROUND.quantize
EXPONENT_MAX = 999_000
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
            and data.total_tokens >= data.prompt_tokens + data.completion_tokens
            and (data.currency == "USD" or is_currency(data.currency))
        ):
            usage.at_ms = moment_of(usage.timestamp)
            cost: Any = data.cost_usd
            if cost and cost.__class__ is not bool and cost > 0:
                data.cost_usd = rounded = _quantize(cost, UNIT)
                usage.is_rounded = rounded != cost
            elif cost == 0 and (cost.__class__ is int or cost.__class__ is Decimal) and _is_near(cost):
                data.cost_usd, usage.is_rounded = ZERO, False
            else:
                return judge(raw)
            if data.cache_hit is None:
                data.cache_hit = False
            if data.latency_ms is not None:
                data.latency_ms = measured(data.latency_ms)
            if data.ttft_ms is not None:
                data.ttft_ms = measured(data.ttft_ms)
            if data.cost_usd < AMOUNT_END:
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


def _is_near(zero: int | Decimal) -> bool:
    # Exponents beyond reason are clamped in silence; the models see them as they are.
    return abs(Decimal(zero).adjusted()) < EXPONENT_MAX


def _is_visible(raw: bytes, name: str) -> bool:
    raw.decode()  # msgspec skips unknown fields without looking at their UTF-8
    return " " not in name and name.isascii() and name.isprintable()
