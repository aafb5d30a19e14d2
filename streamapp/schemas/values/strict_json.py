"""JSON without loss: every number keeps its digits, what is not JSON by RFC 8259 is refused.

Slower than any C parser; it judges what the fast decoder refused.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from streamapp.schemas.values.money import EXACT

DEPTH_MAX = 400  # the C parsers share Python's stack of 1,000; a fixed limit keeps a verdict the same everywhere
DIGITS_MAX = 4_300  # Python refuses to read longer integers

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Malformed(ValueError):
    """Not JSON. The text is the rest of a sentence that begins with "the value"."""


class NotANumber(str):
    """`NaN`, `Infinity` or `-Infinity`, which Python and JavaScript write although JSON has no such thing."""


def parse(raw: bytes) -> tuple[Any, list[NotANumber]]:
    """The tree, with int and Decimal for numbers, and the non-numbers met on the way, which stand in the tree, too.

    A number beyond Decimal's exponents becomes the float nearest to it (infinity or 0.0). The last of repeated keys
    counts. Raises Malformed, and nothing else.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    if too_deep(text):
        raise Malformed(f"is nested more than {DEPTH_MAX} levels deep")
    strange: list[NotANumber] = []

    def constant(name: str) -> NotANumber:
        strange.append(NotANumber(name))
        return strange[-1]

    try:
        return json.loads(text, parse_float=_fraction, parse_int=_integer, parse_constant=constant), strange
    except json.JSONDecodeError as error:
        what = error.msg.lower().removesuffix(" at")
        raise Malformed(f"is not JSON: {what} at character {error.pos}") from None
    except RecursionError:  # the caller's own stack is nearly used up
        raise Malformed("is nested too deep") from None


def object_of(value: bytes | None) -> dict[str, Any]:
    """The JSON object that a value is; an empty one where it is none. For whoever looks into what may be refused."""
    if not value:
        return {}
    try:
        tree, _ = parse(value)
    except Malformed:
        return {}
    return tree if isinstance(tree, dict) else {}


def too_deep(text: str) -> bool:
    """Whether arrays and objects are nested more than DEPTH_MAX levels. Brackets inside of strings do not count."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    depth = 0
    for match in _STRUCTURE.finditer(text):
        token = match.group()
        if token in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif token in "]}":
            depth -= 1
    return False


def _integer(digits: str) -> int | Decimal | float:
    return int(digits) if len(digits) <= DIGITS_MAX else _fraction(digits)


def _fraction(digits: str) -> Decimal | float:
    try:
        return Decimal(digits, EXACT)
    except InvalidOperation:
        return float(digits)
