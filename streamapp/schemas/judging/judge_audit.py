"""The final verdict on an audit record, by the models (see `judge`)."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import ValidationError

from streamapp.schemas.audit import AUDIT_TYPE, AuditEvent
from streamapp.schemas.judging.judge import first_problem, read_envelope
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.timestamp import written_ms
from tables.cause import quoted

# To Python `$` is also before a last line break, to the models it is not.
PYTHON_TYPE = AUDIT_TYPE.removesuffix("$") + r"\Z"
_is_audit_type = re.compile(PYTHON_TYPE).search


class Audited(NamedTuple):
    """What is known of an audit event besides its bytes. `at_ms` is its timestamp."""

    type: str
    org: str | None
    at_ms: int


def judge_audit(raw: bytes | None) -> Audited | Rejected:
    """The audit event in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_data.
    """
    read = read_envelope(raw)
    if isinstance(read, Rejected):
        return read
    tree, envelope = read
    if _is_audit_type(envelope.type) is None:
        return Rejected(Reason.UNKNOWN_TYPE, f"type {quoted(envelope.type)} is not <service>.<entity>.<action>")
    try:
        event = AuditEvent.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_DATA, first_problem(error))
    return Audited(event.type, event.org_id, written_ms(event.timestamp))
