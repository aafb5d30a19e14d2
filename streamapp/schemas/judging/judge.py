"""The final verdict on one record's value, by the models: slow, complete, and with a sentence for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import field_path
from streamapp.schemas.judging.rejected import NO_VALUE, Reason, Rejected, nothing_to_read
from streamapp.schemas.judging.usage import Usage, UsageData
from streamapp.schemas.llm_usage import LLM_USAGE, SUCCESS, LlmUsage, LlmUsageData
from streamapp.schemas.values.strict_json import Malformed, NotANumber, parse
from streamapp.schemas.values.timestamp import parse_ms
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
        at_ms, data = parse_ms(event.timestamp), event.data
        assert at_ms is not None
        is_rounded = getattr(data, money, None) != tree["data"].get(money)
        return Judged(event.id, at_ms, event.team_id, event.org_id, data, is_rounded)

    court = Court(event_type, model, made, money, (), {"cost": Reason.INVALID_COST})
    return lambda raw: judge(raw, court)


def judge_usage(raw: bytes | None) -> Usage | Rejected:
    """The usage event in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_envelope (no team),
    invalid_data, invalid_cost, tokens_mismatch.
    """
    return judge(raw, _COURT)


def judge(raw: bytes | None, court: Court[Event, Made]) -> Made | Rejected:
    """The event in a record's value, or the first reason to refuse it. Never raises."""
    nothing = nothing_to_read(raw)
    if raw is None or nothing is not None:
        return nothing or NO_VALUE
    try:
        tree, strange = parse(raw)
    except Malformed as error:
        return Rejected(Reason.MALFORMED_JSON, f"the value {error}")
    if strange and not _bearable(strange, tree, court):
        return Rejected(Reason.MALFORMED_JSON, f"the value is not JSON: it contains {strange[0]}")
    if not isinstance(tree, dict):
        return Rejected(Reason.INVALID_ENVELOPE, "the value is not an object")
    return _judge_tree(tree, court)


def _judge_tree(tree: dict[str, Any], court: Court[Event, Made]) -> Made | Rejected:
    try:
        envelope = Envelope.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_ENVELOPE, _sentence(_problems(error)[0]))
    if envelope.type != court.event_type:
        name = quoted(envelope.type)
        carried = f"is not carried by this topic, which carries {court.event_type}"
        return Rejected(Reason.UNKNOWN_TYPE, f"type {name} {carried}")
    try:
        event = court.model.model_validate(tree)
    except ValidationError as error:
        return _reject(_problems(error), court)
    return court.made(event, tree)


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


def _bearable(strange: list[NotANumber], tree: Any, court: Court[Any, Any]) -> bool:
    """Whether all that is not JSON stands where it is judged by itself, or ignored."""
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, dict):
        return False
    borne = [data.get(name) for name in (court.money, *court.measured)]
    return all(any(value is one for value in borne) for one in strange)


def _usage(event: LlmUsage, tree: dict[str, Any]) -> Usage:
    at_ms = parse_ms(event.timestamp)
    assert at_ms is not None
    return Usage(
        schema=event.schema_,
        id=event.id,
        type=event.type,
        source=event.source,
        timestamp=event.timestamp,
        team_id=event.team_id,
        org_id=event.org_id,
        data=_usage_data(event.data),
        at_ms=at_ms,
        is_rounded=event.data.cost_usd != tree["data"]["cost_usd"],
    )


def first_problem(error: ValidationError) -> str:
    """The first thing that a model has against a value, as a sentence."""
    return _sentence(_problems(error)[0])


def _usage_data(data: LlmUsageData) -> UsageData:
    return UsageData(
        request_id=data.request_id,
        model=data.model,
        provider=data.provider,
        prompt_tokens=data.prompt_tokens,
        completion_tokens=data.completion_tokens,
        total_tokens=data.total_tokens,
        latency_ms=data.latency_ms,
        cost_usd=data.cost_usd,
        user_id=data.user_id,
        api_key_hash=data.api_key_hash,
        cache_hit=data.cache_hit or False,
        stream=data.stream,
        status=SUCCESS if data.status is None else data.status,
        currency=data.currency or "USD",
        ttft_ms=data.ttft_ms,
        cache_read_tokens=data.cache_read_tokens,
        cache_write_tokens=data.cache_write_tokens,
        project_id=data.project_id,
    )


_COURT: Court[LlmUsage, Usage] = Court(
    LLM_USAGE,
    LlmUsage,
    _usage,
    "cost_usd",
    ("latency_ms", "ttft_ms"),
    {"cost": Reason.INVALID_COST, "tokens": Reason.TOKENS_MISMATCH},
)
