"""Whatever bytes come: an answer, never a defect; what is accepted is in Kafka once, what is refused is kept."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from capture_bodies import EVENTS, JSON, hostile
from capture_calls import TOKEN, Door, directory_in
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.dead_letter import EventRejected
from streamapp.schemas.strict_json import parse

DIRECTORY = directory_in(Path(tempfile.mkdtemp(prefix="capture-")))


@settings(max_examples=500, deadline=None)
@given(
    body=hostile(),
    query=st.dictionaries(st.sampled_from(["_", "beacon", "data", "sent_at", "compression"]), st.text(max_size=20)),
)
def test_any_bytes_are_answered_and_nothing_is_lost(body: bytes, query: dict[str, str]) -> None:
    door = Door(DIRECTORY, unknown_letters_per_second=1e9)
    reply = door.call(body, **query)
    assert reply.status in {200, 204, 400, 401, 413}, reply.body
    events, letters = door.events(), door.letters()
    for topic, _, value in door.pipeline.written:
        (EventCaptured if topic == "events_plugin_ingestion" else EventRejected).model_validate(parse(value)[0])
    assert len({event["id"] for event in events}) >= min(1, len(events))
    if reply.status in {200, 204}:
        assert events
        if reply.status == 200:
            assert len(letters) == len(reply.json.get("refused", []))
    else:
        assert events == []
        assert bool(letters) == (reply.status == 400), reply.body


@settings(max_examples=200, deadline=None)
@given(events=st.lists(EVENTS | JSON, min_size=1, max_size=8))
def test_every_event_of_a_batch_is_taken_or_refused_by_name(events: list[Any]) -> None:
    door = Door(DIRECTORY)
    reply = door.call({"api_key": TOKEN, "batch": events})
    taken, letters = door.events(), door.letters()
    assert len(taken) + len(letters) == len(events)
    refused = [one["index"] for one in reply.json.get("refused", [])] or ([0] if reply.status == 400 else [])
    assert len(refused) == len(letters)
    assert reply.status == (200 if taken else 400)
    # The order of a team is kept: what was taken stands in the topic as it stood in the body.
    names = [event["event"][:200] for number, event in enumerate(events) if number not in refused]
    assert [event["data"]["event"] for event in taken] == [mended(name) for name in names]


def mended(text: str) -> str:
    """Halves of surrogate pairs, as capture writes them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@settings(max_examples=200, deadline=None)
@given(body=hostile(), cuts=st.lists(st.integers(0, 400), max_size=5), gone=st.booleans())
def test_any_pieces_are_one_body(body: bytes, cuts: list[int], gone: bool) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    whole, cut = Door(DIRECTORY), Door(DIRECTORY)
    reply = asyncio.run(cut.ask(*pieces, gone=gone))
    if gone:
        assert reply is None
        assert cut.pipeline.written == []
    else:
        assert reply == whole.call(body)
        assert cut.pipeline.written == whole.pipeline.written
