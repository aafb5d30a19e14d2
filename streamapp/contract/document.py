"""The topics, who writes and reads them, and their events, as an AsyncAPI 3 document. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamapp.access.acl import USER
from streamapp.access.wanted import wanted
from streamapp.schemas.catalog import CATALOG, DIALECT
from streamapp.topics.registry import EVENT_TOPICS, Topic

HOST = "insights-kafka-0.insights-kafka.hanzo.svc:9093"
ACTIONS = {"WRITE": "send", "READ": "receive"}


def document() -> dict[str, Any]:
    """The document. Schemas are references to the files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hanzo Stream",
            "version": "1.0.0",
            "description": "Topics, events and principals of the standard (HIP-30). Values are plain JSON.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": HOST, "protocol": "kafka-secure", "security": [{"type": "plain"}]},
        },
        "channels": {topic.name: _channel(topic) for topic in EVENT_TOPICS},
        "operations": dict(_operations()),
        "components": {"messages": dict(_messages())},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    types = [entry.event_type for entry in CATALOG if entry.topic == topic.name]
    binding = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms},
        "bindingVersion": "0.5.0",
    }
    return {
        "address": topic.name,
        "description": f"The record key is {topic.key}, and its partition the one that murmur2 gives.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in types},
        "bindings": {"kafka": binding},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    topics = {topic.name for topic in EVENT_TOPICS}
    for acl in wanted():
        if acl.kind == "topic" and acl.name in topics and acl.operation in ACTIONS:
            user, action = acl.user.removeprefix(USER), ACTIONS[acl.operation]
            summary = f"Principal {user} has the right {acl.operation}."
            channel = {"$ref": f"#/channels/{acl.name}"}
            yield f"{user}-{action}-{acl.name}", {"action": action, "channel": channel, "summary": summary}


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    keys = {topic.name: topic.key for topic in EVENT_TOPICS}
    for entry in CATALOG:
        key = {"type": "string", "description": keys[entry.topic]}
        yield (
            entry.event_type,
            {
                "name": entry.event_type,
                "payload": {
                    "schemaFormat": f"application/schema+json;version={DIALECT}",
                    "schema": {"$ref": f"./schemas/{entry.event_type}.json"},
                },
                "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
            },
        )
