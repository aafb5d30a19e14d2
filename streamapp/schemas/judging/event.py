"""Any event by its envelope alone: for groups that look at a type and a few fields, and need not be fast."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.judging.judge import first_problem
from streamapp.schemas.judging.rejected import NO_VALUE, Reason, Rejected, nothing_to_read
from streamapp.schemas.values.strict_json import Malformed, parse
from streamapp.schemas.values.timestamp import parse_ms


class Event(NamedTuple):
    """The envelope's fields; numbers in `data` are int, or Decimal with the digits as written."""

    id: str
    type: str
    source: str
    at_ms: int
    team_id: str | None
    org_id: str | None
    data: dict[str, Any]


def read_event(raw: bytes | None) -> Event | Rejected:
    """The event in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope.
    """
    read = read_envelope(raw)
    if isinstance(read, Rejected):
        return read
    _, envelope = read
    at_ms = parse_ms(envelope.timestamp)
    assert at_ms is not None
    return Event(envelope.id, envelope.type, envelope.source, at_ms, envelope.team_id, envelope.org_id, envelope.data)


def read_envelope(raw: bytes | None) -> tuple[dict[str, Any], Envelope] | Rejected:
    """The JSON object in a record's value and its envelope, or why there is none; reasons as `read_event`'s."""
    nothing = nothing_to_read(raw)
    if raw is None or nothing is not None:
        return nothing or NO_VALUE
    try:
        tree, strange = parse(raw)
    except Malformed as error:
        return Rejected(Reason.MALFORMED_JSON, f"the value {error}")
    if strange:
        return Rejected(Reason.MALFORMED_JSON, f"the value is not JSON: it contains {strange[0]}")
    if not isinstance(tree, dict):
        return Rejected(Reason.INVALID_ENVELOPE, "the value is not an object")
    try:
        envelope = Envelope.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_ENVELOPE, first_problem(error))
    return tree, envelope
