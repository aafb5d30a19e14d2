"""What a reader takes is valid under the schema of its type: so a producer that asks the reader keeps to the schema."""

from __future__ import annotations

import pytest
from exact_json import takes
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from searches import search
from test_decode import events as usage_events
from test_decode_captured import events as captured_events
from test_decode_metering import events as call_events

from streamapp.kafka.produce.outgoing import READERS
from streamapp.schemas.catalog import CATALOG, json_schema
from streamapp.schemas.judging.rejected import Rejected

SCHEMAS = {entry.topic: Draft202012Validator(json_schema(entry.event_type)) for entry in CATALOG}
MADE = {
    "llm_usage": usage_events(),
    "agent_rpc_metering": call_events(),
    "events_plugin_ingestion": captured_events(),
}


@pytest.mark.parametrize("topic", MADE)
@given(st.data())
@search(200)
def test_what_a_reader_takes_is_valid_under_the_schema(topic: str, data: st.DataObject) -> None:
    value = data.draw(MADE[topic])
    if not isinstance(READERS[topic](value), Rejected):
        assert takes(SCHEMAS[topic], value)
