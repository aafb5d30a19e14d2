"""What teams' clients ask a schema registry, and what they get: each client's questions as one dictionary.

The same questions go to ours and to Apicurio's. Every question has a subject of its own, so that no answer depends on
another one. An answer that is an error is its status and code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from go_client import go_client
from sdk_packages import NODE, packages

HERE = Path(__file__).parent
CONFLUENT = HERE / "confluent"
FOREIGN: dict[str, Any] = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["count"],
}
NARROWER = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
RETYPED = {**FOREIGN, "properties": {**FOREIGN["properties"], "count": {"type": "string"}}}
WIDER = {**FOREIGN, "properties": {**FOREIGN["properties"], "more": {"type": "string"}}}
OF_2020 = {"$schema": "https://json-schema.org/draft/2020-12/schema", **FOREIGN}
EVENT = {"count": 3, "name": "x"}

Told = dict[str, Any]


def context(topic: str, headers: list[Any] | None = None) -> SerializationContext:
    """Of a value; its headers are a list that serializers add to."""
    return SerializationContext(topic, MessageField.VALUE, headers=[] if headers is None else headers)


def python(url: str, cache_dir: Path, room: Path) -> Told:
    """confluent-kafka's client, serializer and deserializer."""
    client = SchemaRegistryClient({"url": url})
    schema = Schema(json.dumps(FOREIGN), "JSON")
    number = client.register_schema("python-1", schema)
    questions: Mapping[str, Callable[[], Any]] = {
        "the same schema again": lambda: client.register_schema("python-1", schema) == number,
        "the same schema, another subject": lambda: client.register_schema("python-2", schema) == number,
        "its first version": lambda: client.get_version("python-1", 1).schema_id == number,
        "version of a schema": lambda: client.lookup_schema("python-1", schema).version,
        "schema of an id": lambda: json.loads(client.get_schema(number).schema_str or "") == FOREIGN,
        "subjects": lambda: "python-1" in client.get_subjects(),
        **_changes(client),
        **_levels_and_deletions(client, schema),
        "value with a frame": lambda: _sent(client, "python-framed", {}),
        "value with a header": lambda: _sent(
            client, "python-header", {"schema.id.serializer": header_schema_id_serializer}
        ),
        "value that the schema refuses": lambda: _sent(client, "python-wrong", {}, {"count": "many"}),
        "latest of a missing subject": lambda: client.get_latest_version("nobody-has-it"),
        "missing version": lambda: client.get_version("python-1", 7),
        "missing id": lambda: client.get_schema(9_999),
        "schema that is not JSON": lambda: client.register_schema("python-bad", Schema("{", "JSON")),
        "schema of Avro": lambda: client.register_schema("python-avro", Schema('"string"', "AVRO")) > 0,
    }
    return {question: _answer(ask) for question, ask in questions.items()}


def _changes(client: SchemaRegistryClient) -> Mapping[str, Callable[[], Any]]:
    changed = {"an optional field added": WIDER, "a field removed": NARROWER, "a field retyped": RETYPED}
    asked: dict[str, Callable[[], Any]] = {}
    for number, (what, new) in enumerate(changed.items()):
        subject = f"python-change-{number}"
        client.register_schema(subject, Schema(json.dumps(FOREIGN), "JSON"))
        later = Schema(json.dumps(new), "JSON")
        asked[f"may follow: {what}"] = partial(client.test_compatibility, subject, later)
        asked[f"registers: {what}"] = partial(_versions_with, client, subject, later)
    anything, of_2020 = Schema(json.dumps(FOREIGN), "JSON"), Schema(json.dumps(OF_2020), "JSON")
    asked["may follow nothing"] = lambda: client.test_compatibility("nobody-has-it", anything)
    client.register_schema("python-2020", of_2020)
    asked["may follow: the same, of draft 2020-12"] = lambda: client.test_compatibility("python-2020", of_2020)
    return asked


def _versions_with(client: SchemaRegistryClient, subject: str, schema: Schema) -> list[int]:
    client.register_schema(subject, schema)
    return list(client.get_versions(subject))


def _levels_and_deletions(client: SchemaRegistryClient, schema: Schema) -> Mapping[str, Callable[[], Any]]:
    client.register_schema("python-3", schema)
    return {
        "level in force": lambda: client.get_compatibility(),
        "level of a subject, unset": lambda: client.get_compatibility("python-3"),
        "level set": lambda: client.set_compatibility("python-3", "NONE")["compatibility"],
        "level of a subject, set": lambda: client.get_compatibility("python-3"),
        "level that is none": lambda: client.set_compatibility("python-3", "SOMETIMES"),
        "deleted for good, too soon": lambda: client.delete_subject("python-3", permanent=True),
        "deleted": lambda: client.delete_subject("python-3"),
        "deleted again": lambda: client.delete_subject("python-3"),
        "subjects then": lambda: "python-3" in client.get_subjects(),
        "deleted for good": lambda: client.delete_subject("python-3", permanent=True),
        "deleted for good again": lambda: client.delete_subject("python-3", permanent=True),
    }


def _sent(client: SchemaRegistryClient, topic: str, how: Told, event: Told = EVENT) -> Any:
    """What a consumer gets of an event, and the bytes before the value and the headers that took it there."""
    there = context(topic)
    value = JSONSerializer(json.dumps(FOREIGN), client, conf={"auto.register.schemas": True, **how})(event, there)
    assert value is not None
    back = JSONDeserializer(None, schema_registry_client=client)(value, there)
    return [back, value.index(b"{"), [name for name, _ in there.headers]]


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except SchemaRegistryError as error:
        return f"{error.http_status_code} {error.error_code}"
    except SerializationError:
        return "SerializationError"


def node(url: str, cache_dir: Path, room: Path) -> Told:
    """@kafkajs/confluent-schema-registry."""
    return _node(HERE, url, cache_dir, room)


def confluent(url: str, cache_dir: Path, room: Path) -> Told:
    """@confluentinc/schemaregistry. Its packages are of three clouds, too: 170 MB."""
    return _node(CONFLUENT, url, cache_dir, room)


def _node(folder: Path, url: str, cache_dir: Path, room: Path) -> Told:
    script = shutil.copy(folder / "client.cjs", room)
    (room / "node_modules").symlink_to(packages(cache_dir, folder))
    return _ran(NODE, script, url, *_documents())


def go(url: str, cache_dir: Path, room: Path) -> Told:
    """franz-go's sr."""
    return _ran(go_client(cache_dir), url, *_documents())


def _documents() -> list[str]:
    return [json.dumps(one) for one in (FOREIGN, NARROWER, WIDER)]


CLIENTS: Mapping[str, Callable[[str, Path, Path], Told]] = {
    "confluent-kafka": python,
    "@kafkajs/confluent-schema-registry": node,
    "franz-go": go,
    "@confluentinc/schemaregistry": confluent,
}
"""A client → what it asked and was told by the registry at a URL, with a cache and an empty folder."""


def _ran(*command: object) -> Told:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(told, dict)
    return told
