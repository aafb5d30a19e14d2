"""The OpenAPI document of capture, made from its own tables, so that it says what the code does."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from streamapp.capture.answers import KINDS, RETRIED
from streamapp.settings import CaptureSettings

JSON = "application/json"
UNDOCUMENTED = frozenset({404, 405})  # of requests that are in no document

Node = dict[str, Any]

_ANY_ID: Node = {"description": "A text; numbers become text. Cut at 200 characters.", "type": ["string", "number"]}
_MOMENT: Node = {"description": "ISO 8601 with or without a zone, RFC 2822, or a number of s, ms, µs or ns."}


def document(paths: tuple[str, ...], limits: CaptureSettings) -> bytes:
    """The document as JSON. `paths`: where events are taken."""
    doors = {path + slash: _door(limits) for path in paths for slash in ("", "/")}
    about = "Takes events of PostHog's client libraries. 200 means: all replicas of Kafka have them."
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Hanzo Stream capture", "version": version("hanzo-stream"), "description": about},
            "paths": {**doors, **_pages()},
            "components": {"schemas": _schemas(limits)},
        }
    )


def _door(limits: CaptureSettings) -> Node:
    query = [
        _query("data", "The events, when they are not in the body: JSON, base64, or base64 of gzip."),
        _query("api_key", "The project's token, when no event carries it. Also as `token`."),
        _query("_", "The client's clock in milliseconds when it sent the request."),
        _query("beacon", "1: answered 204 instead of 200, for senders that read nothing."),
        _query("compression", "A hint; what the bytes are decides. `lz64` is refused."),
    ]
    content = {"schema": {"$ref": "#/components/schemas/Body"}}
    wrapped = {"schema": {"type": "string", "description": "The same as gzip, base64 or base64 of gzip."}}
    form = {"schema": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}}
    body = {
        "required": True,
        "description": f"At most {limits.body_bytes_max} bytes, unpacked, too, and {limits.events_max} events.",
        "content": {JSON: content, "text/plain": wrapped, "application/x-www-form-urlencoded": form},
    }
    take = {"summary": "Take events", "parameters": query, "responses": _responses()}
    preflight = {"summary": "What a browser asks first", "responses": {"204": {"description": "it may send"}}}
    return {"post": {**take, "requestBody": body}, "get": take, "options": preflight}


def _query(name: str, about: str) -> Node:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": {"type": "string"}}


def _responses() -> Node:
    answers: Node = {
        "200": {
            "description": "everything that was accepted is acknowledged by all replicas",
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/Accepted"}}},
        },
        "204": {"description": "the same, for beacon=1"},
    }
    for status in sorted({kind.status for kind in KINDS} - UNDOCUMENTED):
        kinds = [kind for kind in KINDS if kind.status == status]
        schema: Node = {"allOf": [{"$ref": "#/components/schemas/Refused"}]}
        schema["properties"] = {"slug": {"enum": [kind.slug for kind in kinds]}}
        answer: Node = {
            "description": "; ".join(f"`{kind.slug}`: {kind.meaning}" for kind in kinds),
            "content": {JSON: {"schema": schema}},
        }
        if status in RETRIED:
            seconds = {"description": "Seconds to wait before the same is sent again.", "schema": {"type": "integer"}}
            answer["headers"] = {"Retry-After": seconds}
        answers[str(status)] = answer
    return answers


def _pages() -> Node:
    ready = {"200": _text("Kafka answers", JSON), "503": _text("Kafka does not answer", JSON)}
    return {
        "/health/live": {"get": {"summary": "The process runs", "responses": {"200": _text("it does", JSON)}}},
        "/health/ready": {"get": {"summary": "Whether events would be taken", "responses": ready}},
        "/metrics": {
            "get": {"summary": "For Prometheus", "responses": {"200": _text("its text format", "text/plain")}}
        },
        "/openapi.json": {"get": {"summary": "This document", "responses": {"200": _text("as JSON", JSON)}}},
    }


def _text(about: str, kind: str) -> Node:
    return {"description": about, "content": {kind: {}}}


def _schemas(limits: CaptureSettings) -> Node:
    event = {
        "type": "object",
        "required": ["event"],
        "description": "distinct_id is required, here, as $distinct_id, or in properties. Other fields are ignored.",
        "properties": {
            "event": {"type": "string", "minLength": 1, "description": "Cut at 200 characters."},
            "distinct_id": _ANY_ID,
            "properties": {"type": ["object", "null"], "description": "Kept as sent, every digit of every number."},
            "timestamp": {**_MOMENT, "type": ["string", "number", "null"]},
            "offset": {"description": "Milliseconds since it happened; wins over timestamp.", "type": "number"},
            "uuid": {"type": ["string", "null"], "description": "Sent again under it, an event is the same event."},
            "api_key": {"type": "string", "description": "The project's token. Also as token or $token."},
            "$set": {"type": "object", "description": "Moved into properties."},
            "$set_once": {"type": "object", "description": "Moved into properties."},
        },
    }
    several = {"type": "array", "items": {"$ref": "#/components/schemas/Event"}, "maxItems": limits.events_max}
    batch = {
        "type": "object",
        "required": ["batch"],
        "properties": {"batch": several, "api_key": {"type": "string"}, "sent_at": {**_MOMENT, "type": "string"}},
    }
    one = {
        "type": "object",
        "required": ["index", "slug", "error"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "slug": {"enum": [kind.slug for kind in KINDS if kind.reason is not None]},
            "error": {"type": "string"},
        },
    }
    refused = {"type": "array", "items": one, "description": "Events that went to dead_letter."}
    refusal = {"slug": {"type": "string"}, "error": {"type": "string"}, "refused": refused}
    return {
        "Event": event,
        "Body": {"anyOf": [{"$ref": "#/components/schemas/Event"}, several, batch]},
        "Accepted": {
            "type": "object",
            "required": ["status"],
            "properties": {"status": {"const": 1}, "refused": refused},
        },
        "Refused": {
            "type": "object",
            "required": ["status", "slug", "error"],
            "properties": {"status": {"const": 0}, **refusal},
        },
    }
