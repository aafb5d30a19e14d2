"""The field types that all event models share, with their limits.

They are strict: "150" is no integer, true is no integer. 150.0 and 1.5e2 are integers, as in JSON Schema. Numbers
arrive as `strict_json.parse` leaves them: int, or Decimal with the digits as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, LiteralString

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from streamapp.schemas.values.money import MONEY_PATTERN, PRICE_PATTERN, exact_price, money_of, money_text, rounded_cost
from streamapp.schemas.values.timestamp import parse_ms
from tables.cause import quoted

ID_MAX = 128
NAME_MAX = 256
STATUS_MAX = 64
SENTENCE_MAX = 2_000
TOKENS_MAX = 2**53  # the largest integer that every JSON reader keeps exactly
MEASURED_MAX_MS = 24 * 3_600_000  # a longer duration is a mistake of its producer
UNUSABLE = -1.0  # a measurement that is stated, but is no duration (decision 6)


class Model(BaseModel):
    """Unknown fields are ignored on reading (decision 4); values are never coerced."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, serialize_by_alias=True, protected_namespaces=(), defer_build=True
    )


def field_path(loc: Sequence[str | int]) -> str:
    """Where a value stands, for a sentence: `data.methods."chat.send".cost`. Keys that are no field of ours are words
    of the record, and quoted."""
    return ".".join(str(step) if isinstance(step, int) or step in _field_names() else quoted(step) for step in loc)


@cache
def _field_names() -> frozenset[str]:
    names: set[str] = set()
    models: list[type[BaseModel]] = [Model]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        for name, info in model.model_fields.items():
            names |= {name, info.alias or name}
    return frozenset(names)


def _utf8(text: str) -> str:
    # JSON can spell half of a surrogate pair ("\ud800"); such a text cannot be stored, sent or hashed as UTF-8.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "is not valid Unicode text") from None
    return text


def _moment(text: str) -> str:
    if parse_ms(text) is None:
        if parse_ms(text + "Z") is not None:
            raise PydanticCustomError("timestamp", "has no time zone: add Z or an offset")
        what = "is not an RFC 3339 timestamp with Z or an offset, between 1970 and 9999"
        raise PydanticCustomError("timestamp", what)
    return text


def _cost(number: Any) -> Decimal:
    # `bool` is an int to Python, and a float has lost the digits that count.
    if type(number) is not int and type(number) is not Decimal:
        what = "is text: send a JSON number, without quotes" if type(number) is str else "is not a finite JSON number"
        raise PydanticCustomError("cost", what)
    try:
        return rounded_cost(number)
    except ValueError as error:
        raise PydanticCustomError("cost", "{problem}", {"problem": str(error)}) from None


def _text_as(kind: LiteralString, what: LiteralString, exact: Callable[[str], Decimal]) -> Callable[[Any], Decimal]:
    """Reads an amount that is written as text. A number would do no harm, but whoever sends one has it from a float."""

    def read(value: Any) -> Decimal:
        if type(value) is not str:
            raise PydanticCustomError(kind, what)
        try:
            return exact(value)
        except ValueError as error:
            raise PydanticCustomError(kind, "{problem}", {"problem": str(error)}) from None

    return read


def measured(value: Any) -> float | None:
    """A measurement of any JSON value: milliseconds, None where none is stated, else `UNUSABLE`. It never refuses an
    event (decision 6). Decimals become floats here and only here: a latency is a measurement, not money."""
    if value is None:
        return None
    if type(value) in (int, float, Decimal) and 0 <= value <= MEASURED_MAX_MS:
        return float(value) or 0.0  # -0 is 0
    return UNUSABLE


def _whole(number: Any) -> Any:
    # To JSON Schema a number without a fraction is an integer, however it is spelt.
    if type(number) is Decimal and number.is_finite() and abs(number) <= TOKENS_MAX and number == int(number):
        return int(number)
    return number


ID_PATTERN = r"^[\x21-\x7e]+$"
Id = Annotated[str, Field(min_length=1, max_length=ID_MAX, pattern=ID_PATTERN)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(_utf8)]
Label = Annotated[str, Field(max_length=NAME_MAX), AfterValidator(_utf8)]
Sentence = Annotated[str, Field(min_length=1, max_length=SENTENCE_MAX), AfterValidator(_utf8)]
Timestamp = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
CURRENCY_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]*$"
UPPER_PATTERN = r"^[A-Z0-9]+$"
Currency = Annotated[str, Field(min_length=1, max_length=16, pattern=UPPER_PATTERN)]
# Of tokens on chains (decision 15): `USDC.e`.
TokenCurrency = Annotated[str, Field(min_length=1, max_length=16, pattern=CURRENCY_PATTERN)]
# What was stated stays readable: once, such a currency could begin with a digit.
StatedCurrency = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, Field(ge=0, le=TOKENS_MAX), BeforeValidator(_whole)]
Status = Annotated[str, Field(max_length=STATUS_MAX), AfterValidator(_utf8)]
Integer = Annotated[int, Field()]
Measurement = Annotated[
    float | None,
    PlainValidator(measured),
    WithJsonSchema(
        {
            "description": f"Milliseconds from 0 to {MEASURED_MAX_MS}, fractions included. Anything else is no error: "
            "it is ignored and counted."
        }
    ),
]
Cost = Annotated[
    Decimal,
    PlainValidator(_cost),
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 10**18,
            "description": "Rounded half to even at the 12th decimal.",
        }
    ),
]
Price = Annotated[
    Decimal,
    PlainValidator(_text_as("price", "is not a decimal number as text", exact_price)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": PRICE_PATTERN,
            "description": "At most 12 decimals, trailing zeros not counted, and 18 integer digits.",
        }
    ),
]
Money = Annotated[
    Decimal,
    PlainValidator(_text_as("money", "is not a decimal string", money_of)),
    PlainSerializer(money_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": MONEY_PATTERN}),
]
