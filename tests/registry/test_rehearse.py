"""A new version of a type against real events, and who may do what with the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from streamapp.broker.broker import Broker
from streamapp.cli.project.schemas import command, rehearsed_all
from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record
from streamapp.registry.rehearse import First, Rehearsal, judged, lines, newest
from streamapp.schemas.catalog import json_schema
from streamapp.schemas.example import example
from streamapp.settings import KafkaSettings

TYPE = "llm.usage.completed"


def stricter() -> dict[str, Any]:
    """The model needs four letters: the producers `old` send three."""
    schema = json_schema(TYPE)
    schema["$defs"]["LlmUsageData"]["properties"]["model"] |= {"minLength": 4}
    return schema


def event(source: str, model: str) -> bytes:
    made = example(json_schema(TYPE))
    return json.dumps({**made, "source": source, "data": {**made["data"], "model": model}}).encode()


def at(partition: int, offset: int, value: bytes) -> Record:
    return Record("llm_usage", partition, offset, offset, None, value)


def test_what_would_be_refused_is_told_by_producer_with_the_first_offsets() -> None:
    records = [at(1, n, event("old", "abc")) for n in range(5)]
    records += [at(2, n, event("new", "abcd")) for n in range(7)]
    records += [at(2, 8, event("old", 17 * "x").replace(b"prompt_tokens", b"prompt"))]
    told = judged(TYPE, "llm_usage", stricter(), records)
    assert (told.events, told.refused, told.not_valid_now) == (12, 5, 1)
    old, new = told.producers["old"], told.producers["new"]
    assert (old.events, old.refused, new.events, new.refused) == (5, 5, 7, 0)
    assert [(one.partition, one.offset) for one in old.first] == [(1, 0), (1, 1), (1, 2)]
    assert isinstance(old.first[0], First)
    text = "\n".join(lines(told))
    assert text.startswith(
        f"{TYPE}: 5 of the newest 12 events would be refused, 1 more are not valid now\n  old: 5 of 5"
    )
    assert "llm_usage[1] offset 0 /data/model: " in text
    assert judged(TYPE, "llm_usage", json_schema(TYPE), records).refused == 0


def test_check_rehearses_the_models_on_events_of_the_version_before() -> None:
    """The models are stricter already when `schemas check` runs: what they refuse is what it looks for."""
    before = json_schema(TYPE)
    records = [at(0, n, event("old", "abc")) for n in range(3)] + [at(0, 3, event("new", "abcd"))]

    def ask(event_type: str, new: Mapping[str, Any], now: Mapping[str, Any]) -> Rehearsal:
        if event_type != TYPE:
            raise Unavailable("Kafka is away")
        return judged(event_type, "llm_usage", new, records, now)

    older = [(TYPE, {}), (TYPE, before), ("gone", {}), ("b", {}), ("c", before)]
    (told,), why_not = rehearsed_all(older, {TYPE: stricter(), "b": before, "c": before}, ask)
    assert (told.event_type, told.events, told.refused, told.not_valid_now) == (TYPE, 4, 3, 0)
    assert why_not == "b: not rehearsed: Kafka is away"
    assert judged(TYPE, "llm_usage", stricter(), records).refused == 3


def test_a_terminal_gets_no_controls() -> None:
    told = judged(TYPE, "llm_usage", stricter(), [at(0, 0, event("\x1b[2J", "\x1b[m"))])
    text = "\n".join(lines(told))
    assert r"  \x1b[2J: 1 of 1" in text
    assert "\x1b" not in text


def test_a_schema_that_is_none_is_told() -> None:
    with pytest.raises(Misconfigured, match="no JSON Schema"):
        judged(TYPE, "llm_usage", {"type": 17}, [])


def test_the_newest_events_of_the_type_are_read_however_far_back_they_are(
    broker: Broker, make_topic: Callable[..., str]
) -> None:
    topic = make_topic("rehearsed", partitions=2)
    config = confluent_config(KafkaSettings(bootstrap_servers=broker.bootstrap))
    producer = Producer(config)
    for number in range(40):
        producer.produce(topic, event("a", "abcd"), partition=number % 2, timestamp=1_000 + number)
    for number in range(60):
        producer.produce(topic, b'{"type":"other"}', partition=number % 2, timestamp=5_000 + number)
    assert producer.flush(30) == 0
    found = newest(config, TYPE, topic, 10)
    assert sorted(record.timestamp_ms for record in found) == [1_030 + n for n in range(10)]
    assert len(newest(config, TYPE, topic, 1_000)) == 40


def test_the_command_names_a_type_that_is_none(tmp_path: Any) -> None:
    file = tmp_path / "new.json"
    file.write_text("[]")
    done = CliRunner().invoke(command, ["rehearse", TYPE, str(file), "--last", "0"])
    assert done.exit_code == 2
