"""The final verdict on one record's value, by the models: slow, complete, and with a sentence for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Model, field_path
from streamapp.schemas.judging.metering import Metering, MeteringData
from streamapp.schemas.judging.rejected import NO_VALUE, Reason, Rejected, nothing_to_read
from streamapp.schemas.judging.usage import Usage, UsageData
from streamapp.schemas.llm_usage import LLM_USAGE, LlmUsage
from streamapp.schemas.rpc_metering import RPC_METERED, CallStatus, RpcMetered
from streamapp.schemas.values.money import ZERO, exact_amount
from streamapp.schemas.values.strict_json import Malformed, NotANumber, parse
from streamapp.schemas.values.timestamp import written_ms
from tables.cause import quoted

_SENTENCES: dict[str, str] = {
    "missing": "is missing",
    "string_type": "is not a string",
    "string_unicode": "is not valid Unicode text",
    "int_type": "is not an integer",
    "float_type": "is not a number",
    "bool_type": "is not true or false",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "finite_number": "is too large a number",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "has characters that do not match {pattern}",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "literal_error": "is not {expected}",
    "enum": "is not one of {expected}",
}

Event = TypeVar("Event", bound=Envelope)
Made = TypeVar("Made")
Held = TypeVar("Held", bound=Struct)


@dataclass(frozen=True, slots=True)
class Court(Generic[Event, Made]):
    """How one event type is judged.

    made      model, and the tree that it was made of → what the workers hold
    money     the field of the payload that NaN or Infinity makes wrong by itself
    measured  fields of the payload in which NaN or Infinity is ignored; anywhere else they are not JSON
    later     problem type → reason, of what is looked at last, in this order
    """

    event_type: str
    model: type[Event]
    made: Callable[[Event, dict[str, Any]], Made]
    money: str
    measured: tuple[str, ...]
    later: Mapping[str, Reason]


@dataclass(frozen=True, slots=True)
class Judged:
    """An event as its model has it, for tables that need not be fast. `data` is the model's. `is_rounded`: its cost had
    more than 12 decimals."""

    id: str
    at_ms: int
    team_id: str | None
    org_id: str | None
    data: Any
    is_rounded: bool


def judge_of(event_type: str, model: type[Envelope], money: str = "cost_usd") -> Callable[[bytes | None], Any]:
    """How a record's value is judged by its model alone: a `Judged`, or a `Rejected`. `money`: the field of the payload
    that is the cost. Never raises."""

    def made(event: Envelope, tree: dict[str, Any]) -> Judged:
        data = event.data
        is_rounded = getattr(data, money, None) != tree["data"].get(money)
        return Judged(event.id, written_ms(event.timestamp), event.team_id, event.org_id, data, is_rounded)

    court = Court(event_type, model, made, money, (), {"cost": Reason.INVALID_COST})
    return lambda raw: judge(raw, court)


def judge_usage(raw: bytes | None) -> Usage | Rejected:
    """The usage event in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_envelope (no team),
    invalid_data, invalid_cost, tokens_mismatch.
    """
    return judge(raw, _USAGE)


def judge_metering(raw: bytes | None) -> Metering | Rejected:
    """The metered call in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_envelope (a team or
    org that is no name), invalid_data, invalid_price.
    """
    return judge(raw, _METERING)


def judge(raw: bytes | None, court: Court[Event, Made]) -> Made | Rejected:
    """The event in a record's value, or the first reason to refuse it. Never raises."""
    read = read_envelope(raw, (court.money, *court.measured))
    if isinstance(read, Rejected):
        return read
    tree, envelope = read
    if envelope.type != court.event_type:
        name = quoted(envelope.type)
        carried = f"is not carried by this topic, which carries {court.event_type}"
        return Rejected(Reason.UNKNOWN_TYPE, f"type {name} {carried}")
    try:
        event = court.model.model_validate(tree)
    except ValidationError as error:
        return _reject(_problems(error), court)
    return court.made(event, tree)


def read_envelope(raw: bytes | None, borne: tuple[str, ...] = ()) -> tuple[dict[str, Any], Envelope] | Rejected:
    """The JSON object in a record's value and its envelope, or why there is none. `borne`: fields of the payload in
    which NaN or Infinity are somebody else's to judge.

    Reasons in this order: empty_value, malformed_json, invalid_envelope.
    """
    nothing = nothing_to_read(raw)
    if raw is None or nothing is not None:
        return nothing or NO_VALUE
    try:
        tree, strange = parse(raw)
    except Malformed as error:
        return Rejected(Reason.MALFORMED_JSON, f"the value {error}")
    if strange and not _bearable(strange, tree, borne):
        return Rejected(Reason.MALFORMED_JSON, f"the value is not JSON: it contains {strange[0]}")
    if not isinstance(tree, dict):
        return Rejected(Reason.INVALID_ENVELOPE, "the value is not an object")
    try:
        return tree, Envelope.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_ENVELOPE, first_problem(error))


def _problems(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _reject(problems: list[ErrorDetails], court: Court[Any, Any]) -> Rejected:
    ranked = sorted(((_rank(problem, court), problem) for problem in problems), key=lambda pair: pair[0])
    rank, problem = ranked[0]
    reasons = (Reason.INVALID_ENVELOPE, Reason.INVALID_DATA, *court.later.values())
    return Rejected(reasons[rank], _sentence(problem))


def _rank(problem: ErrorDetails, court: Court[Any, Any]) -> int:
    if problem["loc"][0] != "data":
        return 0
    later = list(court.later)
    return 2 + later.index(problem["type"]) if problem["type"] in later else 1


def _sentence(problem: ErrorDetails) -> str:
    field = field_path(problem["loc"])
    if field == "data" and problem["type"] in ("tokens", "price"):  # of two fields: the sentence names them
        return f"{field}.{problem['msg']}"
    sentence = _SENTENCES.get(problem["type"], "{msg}").format(**{"msg": problem["msg"], **problem.get("ctx", {})})
    return f"{field} {sentence}"


def _bearable(strange: list[NotANumber], tree: Any, borne: tuple[str, ...]) -> bool:
    """Whether all that is not JSON stands where it is judged by itself, or ignored."""
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, dict):
        return False
    return all(any(data.get(name) is one for name in borne) for one in strange)


def first_problem(error: ValidationError) -> str:
    """The first thing that a model has against a value, as a sentence."""
    return _sentence(_problems(error)[0])


def held(struct: type[Held], model: Model, **more: Any) -> Held:
    """A model's values as the workers hold them: in the struct of the same fields. What is null is its default."""
    for name in struct.__struct_fields__:
        value = getattr(model, _ATTRIBUTES.get(name, name), None)
        if value is not None:
            more.setdefault(name, value.value if isinstance(value, StrEnum) else value)
    return struct(**more)


_ATTRIBUTES = {"schema": "schema_"}  # where a field's name is not that of its attribute


def _usage(event: LlmUsage, tree: dict[str, Any]) -> Usage:
    is_rounded = event.data.cost_usd != tree["data"]["cost_usd"]
    return held(
        Usage, event, data=held(UsageData, event.data), at_ms=written_ms(event.timestamp), is_rounded=is_rounded
    )


def _metering(event: RpcMetered, _: dict[str, Any]) -> Metering:
    data = held(MeteringData, event.data)
    charged = data.status == CallStatus.SUCCESS.value and not data.free_tier
    amount = exact_amount(data.price, data.quantity) if charged else ZERO
    return held(Metering, event, data=data, at_ms=written_ms(event.timestamp), amount=amount)


_USAGE: Court[LlmUsage, Usage] = Court(
    LLM_USAGE,
    LlmUsage,
    _usage,
    "cost_usd",
    ("latency_ms", "ttft_ms"),
    {"cost": Reason.INVALID_COST, "tokens": Reason.TOKENS_MISMATCH},
)
_METERING: Court[RpcMetered, Metering] = Court(
    RPC_METERED, RpcMetered, _metering, "price", ("latency_ms",), {"price": Reason.INVALID_PRICE}
)
