"""`traceparent` goes with an event, as it came: through capture and producers, into dead letters and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from capture_calls import TOKEN, directory_in
from captures import Capture, captures

from streamapp.broker.broker import Broker
from streamapp.capture.again import Again
from streamapp.capture.reading.events import SOURCE
from streamapp.dead_letters.done import Done
from streamapp.dead_letters.plan import Fix, Resend, Rules, plan
from streamapp.dead_letters.read import Letter, parse
from streamapp.exact.partition.letter import letter
from streamapp.exact.partition.place import Place
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.producer import EventRefused, UsageProducer
from streamapp.lane.records import Record as Fetched
from streamapp.settings import KafkaSettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HEADERS = (("traceparent", PARENT.encode()),)
EVENTS = "events_plugin_ingestion"
GOOD = {"event": "order placed", "distinct_id": "d"}
DATA = {"model": "m", "provider": "p", "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost_usd": "1"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Capture]]:
    with captures(tmp_path) as begin:
        yield begin


def records(broker: Broker, topic: str) -> list[Record]:
    return list(read({"bootstrap.servers": broker.bootstrap, "fetch.wait.max.ms": 20}, topic, headers=True))


def resent(found: Letter, fix: Fix, tmp_path: Path) -> tuple[tuple[str, bytes | None], ...]:
    """The headers with which a redrive sends it."""
    partitions = {EVENTS: 16, "llm_usage": 8}
    again = {SOURCE: Again(directory_in(tmp_path), 1 << 20)}
    step = plan(found, Done(), Rules(partitions, lambda team: None, fix, reentries=again))
    assert isinstance(step, Resend), step
    return step.records[0].headers


def parsed(record: Any) -> Letter:
    found = parse(record)
    assert isinstance(found, Letter)
    return found


def test_it_goes_with_the_event(fresh_broker: Broker, start: Callable[..., Capture], tmp_path: Path) -> None:
    capture = start(fresh_broker)
    body = json.dumps({"api_key": TOKEN, "batch": [GOOD, {**GOOD, "event": ""}]}).encode()
    assert capture.ask(body, traceparent=PARENT)[0] == 200
    (captured,) = records(fresh_broker, EVENTS)
    assert captured.headers == HEADERS

    async def send() -> None:
        async with UsageProducer(KafkaSettings(bootstrap_servers=fresh_broker.bootstrap), source="gateway") as usage:
            await usage.send(team_id="team_a", org_id="org_a", data=DATA, traceparent=PARENT)
            with pytest.raises(EventRefused):
                await usage.send(team_id="team_a", org_id="org_a", data={**DATA, "model": 5}, traceparent=PARENT)

    asyncio.run(send())
    (sent,) = records(fresh_broker, "llm_usage")
    assert sent.headers == HEADERS

    by_producer = {one.by: one for one in map(parsed, records(fresh_broker, "dead_letter"))}
    assert by_producer.keys() == {SOURCE, "gateway"}
    assert all(HEADERS[0] in one.headers for one in by_producer.values())
    mended = json.dumps({"api_key": TOKEN, **GOOD}).encode()
    assert HEADERS[0] in resent(by_producer[SOURCE], Fix(value=mended), tmp_path)
    assert HEADERS[0] in resent(by_producer["gateway"], Fix(value=sent.value), tmp_path)

    record = Fetched(sent.offset, sent.timestamp_ms, sent.key, sent.value, sent.headers)
    place = Place("billing-agg", "llm_usage", 0, "topic-id", 8, {"dead_letter": 4})
    refused = letter(record, "timestamp_in_future", "it is early", place, 1_000_000)
    about = parsed(Record("dead_letter", 0, 0, 1_000_000, refused.key, refused.value))
    assert HEADERS[0] in resent(about, Fix(), tmp_path)

    accept = "application/openmetrics-text; version=1.0.0"
    told = capture.ask(method="GET", path="/metrics", accept=accept)[1]
    assert f'# {{trace_id="{TRACE}"}}' in str(told)
