"""The field types that all event models share, with their limits.

They are strict: "150" is no integer, true is no integer, 1.0 is no integer. Numbers arrive as `strict_json.parse`
leaves them: int, or Decimal with the digits as written.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

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

from streamapp.schemas.money import MONEY_PATTERN, PRICE_PATTERN, exact_cost, exact_price, money_of, money_text
from streamapp.schemas.timestamp import parse_ms

ID_MAX = 128
NAME_MAX = 256
SENTENCE_MAX = 2_000
TOKENS_MAX = 2**53  # the largest integer that every JSON reader keeps exactly


class Model(BaseModel):
    """Unknown fields are ignored on reading (decision 4); values are never coerced."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, serialize_by_alias=True, protected_namespaces=(), defer_build=True
    )


def _utf8(text: str) -> str:
    # JSON can spell half of a surrogate pair ("\ud800"); such a text cannot be stored, sent or hashed as UTF-8.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "is not valid Unicode text") from None
    return text


def _moment(text: str) -> str:
    if parse_ms(text) is None:
        raise PydanticCustomError("timestamp", "is not an RFC 3339 timestamp between 1970 and 9999")
    return text


def _cost(number: Any) -> Decimal:
    # `bool` is an int to Python, and a float has lost the digits that count.
    if type(number) is not int and type(number) is not Decimal:
        raise PydanticCustomError("cost", "is not a finite JSON number")
    try:
        return exact_cost(number)
    except ValueError as error:
        raise PydanticCustomError("cost", "{problem}", {"problem": str(error)}) from None


def _price(text: Any) -> Decimal:
    # A number would do no harm, but whoever sends one has it from a float.
    if type(text) is not str:
        raise PydanticCustomError("price", "is not a decimal number as text")
    try:
        return exact_price(text)
    except ValueError as error:
        raise PydanticCustomError("price", "{problem}", {"problem": str(error)}) from None


def _number(number: Any) -> Any:
    # Decimals become floats here and only here: a latency is a measurement, not money.
    if type(number) is Decimal or type(number) is int:
        try:
            return float(number)
        except (OverflowError, ValueError):
            raise PydanticCustomError("number", "is too large a number") from None
    return number


def _money(value: Any) -> Decimal:
    if type(value) is not str:
        raise PydanticCustomError("money", "is not a decimal string")
    try:
        return money_of(value)
    except ValueError as error:
        raise PydanticCustomError("money", "{problem}", {"problem": str(error)}) from None


Id = Annotated[str, Field(min_length=1, max_length=ID_MAX, pattern=r"^[\x21-\x7e]+$")]
Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(_utf8)]
Label = Annotated[str, Field(max_length=NAME_MAX), AfterValidator(_utf8)]
Sentence = Annotated[str, Field(min_length=1, max_length=SENTENCE_MAX), AfterValidator(_utf8)]
Timestamp = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
Currency = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Z0-9]+$")]
Count = Annotated[int, Field(ge=0, le=TOKENS_MAX)]
Integer = Annotated[int, Field()]
Measure = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Cost = Annotated[
    Decimal,
    PlainValidator(_cost),
    WithJsonSchema({"type": "number", "minimum": 0, "exclusiveMaximum": 10**18, "description": "At most 12 decimals."}),
]
Price = Annotated[
    Decimal,
    PlainValidator(_price),
    WithJsonSchema(
        {"type": "string", "pattern": PRICE_PATTERN, "description": "At most 12 decimals and 18 integer digits."}
    ),
]
Money = Annotated[
    Decimal,
    PlainValidator(_money),
    PlainSerializer(money_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": MONEY_PATTERN}),
]
