"""The topics that tables are made from: who decodes their records, who must be the record key, and when hours close."""

from __future__ import annotations

from operator import attrgetter

from streamapp.exact.declaration import EventSource
from streamapp.schemas.judging.decode import decode_usage
from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.settings import Settings
from tables.window import Rules

LLM_USAGE = EventSource("llm_usage", decode_usage)
METERING = EventSource("agent_rpc_metering", decode_metering, attrgetter("data.agent_id"), "agent")
DEAD_LETTERS = EventSource("dead_letter")


def closing_as_bills(settings: Settings, source: EventSource) -> Rules:
    """Hours close as those of bills do."""
    return Rules(settings.billing.grace_seconds * 1000, source.retention_ms)
