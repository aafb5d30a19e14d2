"""The clients that teams use, unchanged, against our registry: Python, Node and Go."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from conftest import CACHE_DIR, create_topic, wait_until
from go_client import go_client
from registries import RegistryProcess
from sdk_packages import NODE, packages

from streamapp.broker.broker import Broker
from streamapp.kafka.admin import Admin
from streamapp.schemas.catalog import CATALOG, json_schema
from streamapp.schemas.example import example
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import SCHEMA_TOPIC

HERE = Path(__file__).parent
SUBJECT, TYPE = "llm_usage-llm.usage.completed", "llm.usage.completed"
FOREIGN: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"count": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["count"],
}
NARROWER = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
EVENT = {"count": 3, "name": "x"}


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


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    schema, event = tmp_path / "schema.json", tmp_path / "event.json"
    schema.write_text(json.dumps(FOREIGN))
    event.write_text(json.dumps(EVENT))
    return schema, event


def in_context(topic: str, headers: list[Any] | None = None) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE, headers=[] if headers is None else headers)


def by_type(context: Any, record: Any, *more: Any) -> str:
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
    context = in_context("llm_usage")
    value = JSONSerializer(schema, client, conf=how)(event, context)
    assert json.loads(value or b"") == event
    assert [name for name, _ in context.headers] == ["__value_schema_id"]
    assert JSONDeserializer(None, schema_registry_client=client)(value, context) == event
    framed = JSONSerializer(schema, client, conf={"auto.register.schemas": False, "subject.name.strategy": by_type})
    assert JSONDeserializer(None, schema_registry_client=client)(
        framed(event, in_context("llm_usage")), in_context("x")
    )
    with pytest.raises(SerializationError):
        framed({**event, "data": {**event["data"], "prompt_tokens": "many"}}, in_context("llm_usage"))
    latest = client.get_latest_version("billing_events-value")
    types = [entry.event_type for entry in CATALOG if entry.topic == "billing_events"]
    assert [one["$ref"] for one in json.loads(latest.schema.schema_str)["oneOf"]] == [
        f"#/$defs/{name}" for name in types
    ]


def test_pythons_client_registers_asks_and_deletes(registry: RegistryProcess) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    subject, schema = "python-events", Schema(json.dumps(FOREIGN), "JSON")
    number = client.register_schema(subject, schema)
    assert client.register_schema(f"{subject}-2", schema) == number, "one schema, one id"
    assert client.get_version(subject, 1).schema_id == number
    assert client.lookup_schema(subject, schema).version == 1
    assert subject in client.get_subjects()
    narrower = Schema(json.dumps(NARROWER), "JSON")
    assert not client.test_compatibility(subject, narrower)
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, narrower)
    assert (refused.value.http_status_code, refused.value.error_code) == (409, 40901)
    assert "name was removed or renamed" in str(refused.value)
    wider = Schema(json.dumps({**FOREIGN, "properties": {**FOREIGN["properties"], "more": {}}}), "JSON")
    assert client.register_schema(subject, wider) == number + 1
    assert client.get_versions(subject) == [1, 2]
    assert client.set_compatibility(subject, "NONE") == {"compatibility": "NONE"}
    assert client.get_compatibility(subject) == "NONE"
    assert client.delete_subject(f"{subject}-2") == [1]
    assert f"{subject}-2" not in client.get_subjects()
    with pytest.raises(SchemaRegistryError) as own:
        client.register_schema(SUBJECT, wider)
    assert (own.value.http_status_code, own.value.error_code) == (422, 42205)
    assert "streamapp schemas release" in str(own.value)
    with pytest.raises(SchemaRegistryError) as missing:
        client.get_latest_version("nobody-has-it")
    assert missing.value.error_code == 40401


def ran(*command: object) -> dict[str, Any]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(told, dict)
    return told


def test_nodes_client_registers_encodes_and_decodes(registry: RegistryProcess, files: tuple[Path, Path]) -> None:
    modules = packages(CACHE_DIR, HERE)
    script = shutil.copy(HERE / "client.cjs", files[0].parent)
    (files[0].parent / "node_modules").symlink_to(modules)
    told = ran(NODE, script, registry.url, "node-events", *files)
    assert told["id"] == told["again"] == told["latest"] == told["found"]
    assert told["decoded"] == EVENT
    assert told["magic"] == list(b"\x00" + told["id"].to_bytes(4))
    assert told["refused"]
    assert "not found" in told["missing"]
    assert registry.ask("GET", "/config/node-events")[0] == 404, "what it puts is in force already"


def test_gos_client_registers_and_asks(registry: RegistryProcess, files: tuple[Path, Path]) -> None:
    told = ran(go_client(), registry.url, "go-events", files[0], json.dumps(NARROWER))
    assert told.pop("subjects") == registry.ask("GET", "/subjects")[1]
    number, messages = told.pop("id"), told.pop("messages")
    assert registry.ask("GET", f"/schemas/ids/{number}/subjects")[1].count("go-events") == 1
    assert messages == ["name was removed or renamed; mark it as deprecated instead (at /properties)"]
    assert json.loads(told.pop("byID")) == FOREIGN
    assert told == {
        "version": 1, "type": "JSON", "lookup": 1, "compatible": True, "narrower": False, "level": "BACKWARD",
        "mode": "READWRITE", "schemas": 1, "usages": told["usages"], "types": 1, "missing": 40401, "refused": 40901,
    }  # fmt: skip
