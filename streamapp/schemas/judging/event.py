"""Any event by its envelope alone: for groups that look at a type and a few fields, and need not be fast."""

from __future__ import annotations

from typing import Any, NamedTuple

from streamapp.schemas.judging.judge import read_envelope
from streamapp.schemas.judging.rejected import Rejected
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
