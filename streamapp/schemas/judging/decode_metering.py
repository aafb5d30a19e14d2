"""One record's value → a metered call, exactly, in about a microsecond; the twin of `decode` for usage.

What the fast reader does not take, the models judge. It accepts nothing that they refuse, and with equal values:
`tests/property/test_decode_metering.py` holds it to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from streamapp.schemas.fields import CURRENCY_PATTERN, measured
from streamapp.schemas.judging.decode import is_well_formed, moment_of
from streamapp.schemas.judging.judge import judge_metering
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.values.money import AMOUNT_END, EXACT, ZERO, exact_price

PRICES_MAX = 8_192  # there are few prices; whoever sends a new one with every call only loses the shortcut

Judge = Callable[[bytes | None], Metering | Rejected]

_decode = msgspec.json.Decoder(Metering, float_hook=EXACT.create_decimal).decode
_multiply = EXACT.multiply
_is_currency = re.compile(CURRENCY_PATTERN.removesuffix("$") + r"\Z").search
_prices: dict[str, Decimal] = {}  # text → exact price


def decode_metering(raw: bytes | None, judge: Judge = judge_metering) -> Metering | Rejected:
    """The metered call in a record's value, or why it is refused; the reasons are those of
    `judge.judge_metering`.

    Never raises, whatever the bytes are; the same bytes always give an equal result. `judge` is asked about
    everything that the fast reader does not take.
    """
    if raw is None:
        return judge(raw)
    try:
        event = _decode(raw)
        data = event.data
        if is_well_formed(raw, event.id) and _is_currency(data.currency):
            event.at_ms = moment_of(event.timestamp)
            text: Any = data.price
            data.price = price = _prices[text] if text in _prices else _price(text)
            amount = _multiply(price, data.quantity)
            if data.latency_ms is not None:
                data.latency_ms = measured(data.latency_ms)
            if amount < AMOUNT_END:
                event.amount = amount if data.status == "success" and not data.free_tier else ZERO
                return event
    except Exception:
        # Whatever it was, the models decide; even running out of stack inside the C parser is only a refusal.
        pass
    return judge(raw)


def _price(text: str) -> Decimal:
    price = exact_price(text)
    if len(_prices) >= PRICES_MAX:
        _prices.clear()
    _prices[text] = price
    return price
