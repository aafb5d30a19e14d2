"""The topics that tables are made from: who decodes their records, and who must be the record key."""

from __future__ import annotations

from operator import attrgetter

from streamapp.exact.declaration import EventSource
from streamapp.schemas.judging.decode import decode_usage
from streamapp.schemas.judging.decode_metering import decode_metering

LLM_USAGE = EventSource("llm_usage", decode_usage)
METERING = EventSource("agent_rpc_metering", decode_metering, attrgetter("data.agent_id"), "agent")
DEAD_LETTERS = EventSource("dead_letter")
