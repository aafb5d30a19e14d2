"""A record of an event topic as people look at it: who, when, how much. Pure; judged as the groups judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from streamapp.dead_letters.read import Coordinates
from streamapp.events.names import written
from streamapp.kafka.log.reader import Record
from streamapp.kafka.produce.outgoing import READERS
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.judging.usage import Usage
from streamapp.schemas.values.strict_json import object_of
from streamapp.schemas.values.timestamp import parse_ms

DETAILS: Mapping[str, tuple[str, ...]] = {
    "llm_usage": ("provider", "model", "status", "project_id", "user_id", "api_key_hash", "request_id"),
    "agent_rpc_metering": ("agent_id", "consumer_id", "method", "status", "model", "request_id"),
    "events_plugin_ingestion": ("event", "distinct_id", "uuid"),
    "audit_log": ("user_id", "application", "action"),
}
"""Fields of the payload that say which call it was, by topic."""

LETTER_HEADER = "hanzo-letter"
CAPTURED = "events_plugin_ingestion"


@dataclass(frozen=True, slots=True)
class Event:
    """One record. `names` are those of the row that counts it, empty for a topic whose events no table counts; an org
    that the event does not name is empty in it."""

    at: Coordinates
    arrived_ms: int
    id: str
    type: str
    at_ms: int | None  # the event's own time
    org: str
    team: str
    names: tuple[str, ...]
    cost: Decimal | None
    currency: str
    tokens: int | None
    details: Mapping[str, str]
    refusal: str = ""  # why every reader of its topic refuses it
    letter: str = ""  # the dead letter for which it was sent again
    value: bytes | None = None

    @property
    def place(self) -> str:
        """llm_usage[3]@31617"""
        return written(self.at)


def event_of(record: Record) -> Event:
    """What a record says. Never raises: what cannot be read is empty."""
    judge = READERS.get(record.topic)
    verdict = None if judge is None else judge(record.value)
    tree = _tree_of_good(record.value) if isinstance(verdict, Usage | Metering) else object_of(record.value)
    data = tree.get("data")
    fields: Mapping[str, Any] = data if isinstance(data, dict) else {}
    names, cost, currency, tokens = _counted(verdict)
    key = "" if record.key is None else record.key.decode(errors="replace")
    headers = dict(record.headers)
    return Event(
        (record.topic, record.partition, record.offset),
        record.timestamp_ms,
        _text(tree, "id"),
        _text(tree, "type"),
        parse_ms(_text(tree, "timestamp")),
        _text(tree, "org_id"),
        _text(tree, "team_id") or (key if record.topic in ("llm_usage", CAPTURED) else ""),
        names,
        cost,
        currency,
        tokens,
        {name: text for name in DETAILS.get(record.topic, ()) if (text := _text(fields, name))},
        f"{verdict.reason}: {verdict.error}" if isinstance(verdict, Rejected) else "",
        (headers.get(LETTER_HEADER) or b"").decode(errors="replace"),
        record.value,
    )


def _counted(verdict: Any) -> tuple[tuple[str, ...], Decimal | None, str, int | None]:
    if isinstance(verdict, Usage):
        data = verdict.data
        return (verdict.org_id or "", verdict.team_id, data.currency), data.cost_usd, data.currency, data.total_tokens
    if isinstance(verdict, Metering):
        call = verdict.data
        names = verdict.org_id or "", call.agent_id, call.consumer_id, call.currency
        return names, verdict.amount, call.currency, None
    return (), None, "", None


def is_called(record: Record, name: str) -> bool:
    """Whether `name` is the event's id, or the uuid that the client gave a captured event. Most records are passed over
    by their bytes alone: JSON is read only where the name, or an escape that may hide it, is in it."""
    value = record.value
    if not isinstance(value, bytes) or (name.encode(errors="replace") not in value and b"\\" not in value):
        return False
    tree = object_of(value)
    data = tree.get("data")
    uuid = _text(data, "uuid") if record.topic == CAPTURED and isinstance(data, dict) else ""
    return name in (_text(tree, "id"), uuid)


def _tree_of_good(value: bytes | None) -> Mapping[str, Any]:
    """The same of a value that was accepted, by a faster reader. Its texts are equal, its numbers need not be."""
    try:
        return msgspec.json.decode(value or b"", type=dict[str, Any])
    except msgspec.MsgspecError:
        return object_of(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    return found if isinstance(found, str) else ""
