"""JSON as a validator of JSON Schema should see it: numbers with all their digits, 1.5e2 an integer."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation

from jsonschema import Draft202012Validator

DIGITS_MAX = 4_000  # Python turns no longer text into an int


def takes(schema: Draft202012Validator, value: bytes | None) -> bool:
    """Whether the schema has nothing against a record's value; False for what is no JSON."""
    try:
        tree = json.loads(value or b"", parse_float=_number, parse_int=_whole, parse_constant=str)
    except ValueError:
        return False
    return bool(schema.is_valid(tree))


def _whole(text: str) -> Decimal | int:
    return int(text) if len(text) < DIGITS_MAX else Decimal(text)


def _number(text: str) -> Decimal | int:
    try:
        found = Decimal(text)
    except InvalidOperation:  # an exponent that no Decimal has
        return Decimal(0) if "e-" in text.lower() else Decimal("Infinity")
    near = abs(found.adjusted()) < 400  # an exponent of millions is no integer that anybody wants to hold
    return int(found) if near and found == found.to_integral_value() else found
