"""The OpenAPI document of capture, made from its own tables, so that it says what the code does."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from streamapp.capture.openapi_shapes import ref, shapes
from streamapp.capture.reading.answers import ANYWHERE, BY_ROLE, ELSEWHERE, KINDS, RETRIED, Kind
from streamapp.settings import CaptureSettings

JSON = "application/json"

Node = dict[str, Any]

_ABOUT = (
    "Takes events of PostHog's client libraries. 200 means: all replicas of Kafka have them. The project's token is "
    "`api_key` or `token` of the body, else of the query or the form, else of the events, which then must agree."
)


def document(paths: tuple[str, ...], limits: CaptureSettings) -> bytes:
    """The document as JSON. `paths`: where events are taken."""
    captures = {path + slash: _endpoint(limits) for path in paths for slash in ("", "/")}
    elsewhere = {kind.slug: _answer([kind]) for kind in ELSEWHERE}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Hanzo Stream capture", "version": version("hanzo-stream"), "description": _ABOUT},
            "paths": {**captures, **_pages()},
            "components": {"schemas": shapes(limits), "responses": elsewhere},
        }
    )


def _endpoint(limits: CaptureSettings) -> Node:
    data = _query("data", "The events: JSON, base64, or base64 of gzip. Read only when there is no body.")
    about = [
        _query("api_key", "The project's token, when the body has none around its events. Also as `token`."),
        _query("token", "The same."),
        _query("_", "The client's clock in milliseconds when it sent the request. `sent_at` of the body wins."),
        _query("sent_at", "The same as a date."),
        _query("beacon", "1: answered 204 instead of 200, for senders that read nothing."),
        _query("compression", "A hint; what the bytes are decides. `lz64` is refused.", {"not": {"const": "lz64"}}),
    ]
    responses = {**_taken(), **_refusals([kind for kind in KINDS if kind not in ELSEWHERE + BY_ROLE])}
    take = {"summary": "Take events", "responses": responses}
    preflight = {"204": {"description": "it may send"}, **_refusals(ANYWHERE)}
    return {
        "post": {**take, "parameters": [data, *about], "requestBody": _body(limits)},
        "get": {**take, "parameters": [{**data, "required": True}, *about]},
        "options": {"summary": "What a browser asks first", "responses": preflight},
    }


def _body(limits: CaptureSettings) -> Node:
    wrapped = {"type": "string", "description": "The same as JSON, gzip, base64 or base64 of gzip."}
    fields = ("data", "api_key", "token", "_", "sent_at", "beacon")
    form = {
        "type": "object",
        "required": ["data"],
        "properties": {name: {"type": "string"} for name in fields},
        "description": "As the query, which it wins over.",
    }
    return {
        "required": True,
        "description": f"At most {limits.body_bytes_max} bytes, unpacked, too, and {limits.events_max} events. "
        "What the bytes are decides, whatever the headers say.",
        "content": {
            JSON: {"schema": ref("Body")},
            "text/plain": {"schema": wrapped},
            "application/x-www-form-urlencoded": {"schema": form},
        },
    }


def _query(name: str, about: str, more: Node | None = None) -> Node:
    schema = {"type": "string", **(more or {})}
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


def _taken() -> Node:
    about = "everything that was accepted is acknowledged by all replicas"
    return {"200": _text(about, JSON, ref("Accepted")), "204": {"description": "the same, for beacon=1"}}


def _refusals(kinds: Sequence[Kind]) -> Node:
    """An answer for each status of these."""
    statuses = sorted({kind.status for kind in kinds})
    return {str(status): _answer([kind for kind in kinds if kind.status == status]) for status in statuses}


def _answer(kinds: Sequence[Kind]) -> Node:
    """That of one status."""
    schema: Node = {"allOf": [ref("Refused")], "properties": {"slug": {"enum": [kind.slug for kind in kinds]}}}
    made = _text("; ".join(f"`{kind.slug}`: {kind.meaning}" for kind in kinds), JSON, schema)
    if kinds[0].status in RETRIED:
        about = "Seconds to wait before the same is sent again."
        made["headers"] = {
            "Retry-After": {"description": about, "required": True, "schema": {"type": "integer", "minimum": 1}}
        }
    return made


def _pages() -> Node:
    refusals, by_role = _refusals(ANYWHERE), _refusals(BY_ROLE)
    overloaded = refusals["503"]["content"][JSON]["schema"]
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    missing = _state("topic_missing", missing_topics=names, error={"type": "string"})
    away = _text(
        f"Kafka does not answer, or has not these topics; or {refusals['503']['description']}",
        JSON,
        {"anyOf": [_state("kafka_away"), missing, overloaded]},
    )
    ready = {"200": _text("Kafka answers and has the topics", JSON, _state("ready")), "503": away}
    told = {
        "/health/live": ("The process runs", {"200": _text("it does", JSON, _state("live"))}),
        "/health/ready": ("Whether events would be taken", ready),
        "/health": ("The same as /health/ready", ready),
        "/metrics": ("For Prometheus", {**by_role, "200": _text("its text format", "text/plain", {"type": "string"})}),
        "/openapi.json": ("This document", {**by_role, "200": _text("as JSON", JSON, {"type": "object"})}),
    }
    return {path: _page(summary, {**refusals, **answers}) for path, (summary, answers) in told.items()}


def _page(summary: str, responses: Node) -> Node:
    bare = {status: {"description": said["description"]} for status, said in responses.items()}
    return {
        "get": {"summary": summary, "responses": responses},
        "head": {"summary": f"{summary}, without the words", "responses": bare},
    }


def _state(word: str, **more: Node) -> Node:
    return {"type": "object", "required": ["status", *more], "properties": {"status": {"const": word}, **more}}


def _text(about: str, kind: str, schema: Node) -> Node:
    return {"description": about, "content": {kind: {"schema": schema}}}
