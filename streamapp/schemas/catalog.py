"""Which event types there are, on which topic, and their JSON Schemas (standard: "Schema Registry")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamapp.schemas.audit import AUDIT_EVENT, AuditEvent
from streamapp.schemas.billing import BILLING_HOURLY, BILLING_REVISED, BillingHourly, BillingRevised
from streamapp.schemas.budget import BUDGET_CROSSED, BudgetCrossed
from streamapp.schemas.captured import EVENT_CAPTURED, EventCaptured
from streamapp.schemas.dead_letter import EVENT_REJECTED, EventRejected
from streamapp.schemas.envelope import Envelope
from streamapp.schemas.judging.insights import judge_captured
from streamapp.schemas.judging.judge import judge_metering, judge_usage
from streamapp.schemas.judging.judge_audit import judge_audit
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.llm_usage import LLM_USAGE, LlmUsage
from streamapp.schemas.rpc_metering import RPC_METERED, RpcMetered
from streamapp.schemas.settlement import RPC_SETTLED, RpcSettled

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Entry(NamedTuple):
    """One event type. `model` is that of the whole event, envelope included.

    A `family` has open types: its model's pattern says which, and `event_type` names all of them.
    """

    event_type: str
    model: type[Envelope]
    topic: str
    family: bool = False


CATALOG: tuple[Entry, ...] = (
    #     event type        model           topic
    Entry(LLM_USAGE, LlmUsage, "llm_usage"),
    Entry(BILLING_HOURLY, BillingHourly, "billing_events"),
    Entry(BILLING_REVISED, BillingRevised, "billing_events"),
    Entry(BUDGET_CROSSED, BudgetCrossed, "billing_events"),
    Entry(RPC_METERED, RpcMetered, "agent_rpc_metering"),
    Entry(RPC_SETTLED, RpcSettled, "billing_events"),
    Entry(EVENT_CAPTURED, EventCaptured, "events_plugin_ingestion"),
    Entry(AUDIT_EVENT, AuditEvent, "audit_log", family=True),
    Entry(EVENT_REJECTED, EventRejected, "dead_letter"),
)

JUDGES: Mapping[str, Callable[[bytes | None], object | Rejected]] = {
    "llm_usage": judge_usage,
    "agent_rpc_metering": judge_metering,
    "audit_log": judge_audit,
    "events_plugin_ingestion": judge_captured,
}
"""Event topic → the final verdict on a record's value. It does not look at key, partition or record timestamp."""


def json_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of a whole event of this type, envelope included. Raises KeyError for an unknown type."""
    model = {entry.event_type: entry.model for entry in CATALOG}[event_type]
    return {"$schema": DIALECT, **model.model_json_schema(by_alias=True, mode="validation")}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Event type → JSON Schema, in the order of the catalog."""
    return {entry.event_type: json_schema(entry.event_type) for entry in CATALOG}
