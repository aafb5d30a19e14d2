"""The final verdict on one record's value, by the models: slow, complete, and with a sentence for a person."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.llm_usage import LLM_USAGE, LlmUsage, LlmUsageData, Status
from streamapp.schemas.rejected import Reason, Rejected
from streamapp.schemas.strict_json import Malformed, parse
from streamapp.schemas.timestamp import parse_ms
from streamapp.schemas.usage import Usage, UsageData

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

_COST_AT = ("data", "cost_usd")


def judge_usage(raw: bytes | None) -> Usage | Rejected:
    """The usage event in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_envelope (no team),
    invalid_data, invalid_cost, tokens_mismatch.
    """
    if not raw:
        return Rejected(Reason.EMPTY_VALUE, "the record has no value")
    try:
        tree, strange = parse(raw)
    except Malformed as error:
        return Rejected(Reason.MALFORMED_JSON, f"the value {error}")
    if strange and not (len(strange) == 1 and _cost_in(tree) is strange[0]):
        return Rejected(Reason.MALFORMED_JSON, f"the value is not JSON: it contains {strange[0]}")
    if not isinstance(tree, dict):
        return Rejected(Reason.INVALID_ENVELOPE, "the value is not an object")
    return _judge_tree(tree)


def _judge_tree(tree: dict[str, Any]) -> Usage | Rejected:
    try:
        envelope = Envelope.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_ENVELOPE, _sentence(_problems(error)[0]))
    if envelope.type != LLM_USAGE:
        name = json.dumps(envelope.type[:100])
        return Rejected(Reason.UNKNOWN_TYPE, f"type {name} is not carried by this topic, which carries {LLM_USAGE}")
    try:
        event = LlmUsage.model_validate(tree)
    except ValidationError as error:
        return _reject(_problems(error))
    return _usage(event)


def _problems(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _reject(problems: list[ErrorDetails]) -> Rejected:
    ranked = sorted(((_rank(problem), problem) for problem in problems), key=lambda pair: pair[0])
    rank, problem = ranked[0]
    return Rejected(_BY_RANK[rank], _sentence(problem))


_BY_RANK = (Reason.INVALID_ENVELOPE, Reason.INVALID_DATA, Reason.INVALID_COST, Reason.TOKENS_MISMATCH)


def _rank(problem: ErrorDetails) -> int:
    if problem["loc"][0] != "data":
        return 0
    if problem["loc"] == _COST_AT and problem["type"] == "cost":
        return 2
    return 3 if problem["type"] == "tokens" else 1


def _sentence(problem: ErrorDetails) -> str:
    field = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "tokens":
        return f"{field}.{problem['msg']}"
    sentence = _SENTENCES.get(problem["type"], "{msg}").format(**{"msg": problem["msg"], **problem.get("ctx", {})})
    return f"{field} {sentence}"


def _cost_in(tree: Any) -> Any:
    data = tree.get("data") if isinstance(tree, dict) else None
    return data.get("cost_usd") if isinstance(data, dict) else None


def _usage(event: LlmUsage) -> Usage:
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
        status=(data.status or Status.SUCCESS).value,
        currency=data.currency or "USD",
        ttft_ms=data.ttft_ms,
        cache_read_tokens=data.cache_read_tokens,
        cache_write_tokens=data.cache_write_tokens,
        project_id=data.project_id,
    )
