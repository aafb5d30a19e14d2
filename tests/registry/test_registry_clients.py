"""The clients that teams use, unchanged, against our registry and against Apicurio's: Python, Node and Go.

docs/schemas.md lists where Apicurio answers otherwise. Where it lists nothing, both answer the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apicurio import apicurio
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import SerializationError
from conftest import CACHE_DIR, PROJECT, create_topic, wait_until
from dialogues import CLIENTS, FOREIGN, NARROWER, WIDER, Told, context
from registries import RegistryProcess

from streamapp.broker.broker import Broker
from streamapp.kafka.admin import Admin
from streamapp.schemas.catalog import CATALOG, json_schema
from streamapp.schemas.example import example
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import SCHEMA_TOPIC

SUBJECT, TYPE = "llm_usage-llm.usage.completed", "llm.usage.completed"
BIG = "@confluentinc/schemaregistry"  # for `make test-all`, as Apicurio
EVENT = {"count": 3, "name": "x"}
CHANGES: Told = {
    "may follow: an optional field added": True,
    "registers: an optional field added": [1, 2],
    "may follow: a field removed": False,
    "registers: a field removed": "409 40901",
    "may follow: a field retyped": False,
    "registers: a field retyped": "409 40901",
    "may follow nothing": True,
    "may follow: the same, of draft 2020-12": True,
}
OURS: dict[str, Told] = {
    "confluent-kafka": CHANGES | {
        "the same schema again": True, "the same schema, another subject": True, "its first version": True,
        "version of a schema": 1, "schema of an id": True, "subjects": True,
        "level in force": "BACKWARD", "level of a subject, unset": "404 40408", "level set": "NONE",
        "level of a subject, set": "NONE", "level that is none": "422 42203",
        "deleted for good, too soon": "404 40405", "deleted": [1], "deleted again": "404 40404",
        "subjects then": False, "deleted for good": [1], "deleted for good again": "404 40401",
        "value with a frame": [EVENT, 5, []], "value with a header": [EVENT, 0, ["__value_schema_id"]],
        "value that the schema refuses": "SerializationError",
        "latest of a missing subject": "404 40401", "missing version": "404 40402", "missing id": "404 40403",
        "schema that is not JSON": "422 42201", "schema of Avro": "422 42201",
    },
    "@kafkajs/confluent-schema-registry": {
        "the same schema again": True, "the newest id": True, "id of a schema": True,
        "value with a frame": [EVENT, 0, True],
        "value that the schema refuses": "ConfluentSchemaRegistryValidationError",
        "latest of a missing subject": "404 ResponseError",
        "registers: an optional field added": True, "registers: a field removed": "409 ResponseError",
    },
    "franz-go": {
        "first version": 1, "schema of an id": [True, "JSON"], "version of a schema": 1, "subjects": True,
        "versions of a subject": 1, "who uses an id": True, "types of schemas": "[JSON]",
        "level in force": "BACKWARD", "mode in force": "READWRITE",
        "may follow: the same": True, "why: the same": None,
        "may follow: an optional field added": True, "why: an optional field added": None,
        "may follow: a field removed": False,
        "why: a field removed": ["name was removed or renamed; mark it as deprecated instead (at /properties)"],
        "registers: a field removed": "409 40901",
        "version of a missing subject": "404 40401", "missing version": "404 40402",
    },
    BIG: {
        "the same schema again": True, "schema of an id": True, "version of a schema": 1, "newest version": 1,
        "subjects": True, "level in force": "BACKWARD", "level of a subject, unset": "404 40408",
        "latest of a missing subject": "404 40401",
        "an optional field added": [True, True], "a field removed": [False, "409 40901"],
        "value with a frame": [EVENT, 5, []], "value with a header": [EVENT, 0, ["__value_schema_id"]],
        "value that the schema refuses": "Error", "deleted": [1], "subjects then": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def registry(broker: Broker) -> Iterator[RegistryProcess]:
    if SCHEMA_TOPIC not in Admin(KafkaSettings(bootstrap_servers=broker.bootstrap)).topics():
        create_topic(broker, SCHEMA_TOPIC, 1, {"cleanup.policy": "compact"})
    one = RegistryProcess(broker.bootstrap).start()
    try:
        wait_until(lambda: one.health() == "ok")
        yield one
    finally:
        assert one.stop() == 0


def by_type(there: Any, record: Any, *more: Any) -> str:
    return SUBJECT


def test_pythons_client_finds_a_released_type_and_leaves_the_value_plain_with_a_header(
    registry: RegistryProcess,
) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    schema, event = json.dumps(json_schema(TYPE)), example(json_schema(TYPE))
    how = {
        "auto.register.schemas": True,
        "schema.id.serializer": header_schema_id_serializer,
        "subject.name.strategy": by_type,
    }
    there = context("llm_usage")
    value = JSONSerializer(schema, client, conf=how)(event, there)
    assert json.loads(value or b"") == event
    assert [name for name, _ in there.headers] == ["__value_schema_id"]
    assert JSONDeserializer(None, schema_registry_client=client)(value, there) == event
    framed = JSONSerializer(schema, client, conf={"auto.register.schemas": False, "subject.name.strategy": by_type})
    assert JSONDeserializer(None, schema_registry_client=client)(framed(event, context("llm_usage")), context("x"))
    with pytest.raises(SerializationError):
        framed({**event, "data": {**event["data"], "prompt_tokens": "many"}}, context("llm_usage"))
    latest = client.get_latest_version("billing_events-value")
    types = [entry.event_type for entry in CATALOG if entry.topic == "billing_events"]
    assert [one["$ref"] for one in json.loads(latest.schema.schema_str)["oneOf"]] == [
        f"#/$defs/{name}" for name in types
    ]


def test_pythons_client_is_told_why(registry: RegistryProcess) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    client.register_schema("python-why", Schema(json.dumps(FOREIGN), "JSON"))
    with pytest.raises(SchemaRegistryError, match="name was removed or renamed"):
        client.register_schema("python-why", Schema(json.dumps(NARROWER), "JSON"))
    with pytest.raises(SchemaRegistryError, match="streamapp schemas release") as own:
        client.register_schema(SUBJECT, Schema(json.dumps(WIDER), "JSON"))
    assert (own.value.http_status_code, own.value.error_code) == (422, 42205)


@pytest.mark.parametrize("client", [pytest.param(one, marks=[pytest.mark.long] * (one == BIG)) for one in CLIENTS])
def test_a_client_is_told(client: str, registry: RegistryProcess, tmp_path: Path) -> None:
    assert CLIENTS[client](registry.url, CACHE_DIR, tmp_path) == OURS[client]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_apicurio_tells_the_same_but_for_what_is_listed(tmp_path: Path) -> None:
    told: dict[str, Told] = {}
    with apicurio(CACHE_DIR, tmp_path) as url:
        for number, client in enumerate(CLIENTS):
            room = tmp_path / str(number)
            room.mkdir()
            told[client] = CLIENTS[client](url, CACHE_DIR, room)
    assert {client: sorted(answers) for client, answers in told.items()} == {
        client: sorted(answers) for client, answers in OURS.items()
    }
    differ = [
        (client, question, shown(ours), shown(told[client][question]))
        for client, answers in OURS.items()
        for question, ours in answers.items()
        if told[client][question] != ours
    ]
    assert differ == listed(), "\n".join(f"| {' | '.join(row)} |" for row in differ)


def shown(answer: Any) -> str:
    """An answer as a cell of the table."""
    return json.dumps(answer)


def listed() -> list[tuple[str, ...]]:
    """The rows of the table of differences: client, question, ours, Apicurio's."""
    text = (PROJECT / "docs" / "schemas.md").read_text(encoding="utf-8")
    rows = [line for line in text.partition("## Apicurio")[2].splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip().strip("`") for cell in row.strip("|").split("|")) for row in rows]
