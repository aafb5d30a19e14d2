"""What the OpenAPI document of capture says of bodies: exactly those are taken whole that it describes."""

from __future__ import annotations

from typing import Any

from streamapp.capture.reading.answers import KINDS
from streamapp.settings import CaptureSettings

Node = dict[str, Any]

ID_FIELDS = ("distinct_id", "$distinct_id")  # and that of the properties
_MOMENT = "ISO 8601 with or without a zone, RFC 2822, or a number of s, ms, µs or ns"
_TOKEN: Node = {"description": "The project's token, a text; anything else is none."}
_PERSON = ("$set", "$set_once")
_MAP: Node = {"type": ["object", "array", "null"], "maxItems": 0}  # an empty list is PHP's empty map


def ref(name: str) -> Node:
    """A reference to one of the shapes."""
    return {"$ref": f"#/components/schemas/{name}"}


def shapes(limits: CaptureSettings) -> Node:
    """Name → JSON Schema, of what comes in and of what is answered."""
    several = {"type": "array", "items": ref("Event"), "minItems": 1, "maxItems": limits.events_max}
    tokens = dict.fromkeys(("api_key", "token", "$token"), _TOKEN)
    sent_at = {"description": f"The client's clock when it sent the request: {_MOMENT}; else ignored."}
    batch = {
        "type": "object",
        "required": ["batch"],
        "description": "Other fields are ignored.",
        "properties": {"batch": several, "sent_at": sent_at, **tokens},
    }
    alone = {"allOf": [ref("Event")], "properties": {"batch": {"type": "null"}, "sent_at": sent_at}}
    refused = {"type": "array", "items": _refused_event(), "description": "Events that went to dead_letter."}
    refusal = {"status": {"const": 0}, "slug": {"type": "string"}, "error": {"type": "string"}, "refused": refused}
    return {
        "DistinctId": {
            "description": "Whose event it is. Whatever is no text becomes one: digits as they are, the rest as JSON. "
            "Cut at 200 characters.",
            "type": ["string", "number", "boolean", "object", "array"],
            "minLength": 1,
        },
        "Event": _event(tokens),
        "Body": {"anyOf": [alone, several, batch]},
        "Accepted": {
            "type": "object",
            "required": ["status"],
            "properties": {"status": {"const": 1}, "refused": refused},
        },
        "Refused": {"type": "object", "required": ["status", "slug", "error"], "properties": refusal},
    }


def _event(tokens: Node) -> Node:
    inside = {"type": "object", "required": ["properties"], "properties": {"properties": _one_of_ids("distinct_id")}}
    return {
        "type": "object",
        "required": ["event"],
        "description": "distinct_id, $distinct_id or distinct_id of the properties is required; the first wins. "
        "Other fields are ignored.",
        "properties": {
            "event": {"type": "string", "minLength": 1, "description": "Cut at 200 characters."},
            "properties": {**_MAP, "description": "Kept as sent, every digit of every number."},
            "timestamp": {"description": f"When it happened: {_MOMENT}; else now."},
            "offset": {"description": "Whole milliseconds since it happened; wins over timestamp. Else ignored."},
            "uuid": {"description": "Sent again under it, an event is the same event. One that is none is replaced."},
            **{name: {**_MAP, "description": "Moved into properties."} for name in _PERSON},
            **tokens,
        },
        "anyOf": [*map(_one_of_ids, ID_FIELDS), inside],
        "dependentSchemas": {name: _merged(name) for name in _PERSON},
    }


def _merged(name: str) -> Node:
    """What is moved into properties meets an object there, too, which wins; or nothing."""
    both = {"properties": {"properties": {"properties": {name: _MAP}}}}
    return {"anyOf": [{"properties": {name: {"type": "null"}}}, both]}


def _one_of_ids(name: str) -> Node:
    return {"type": "object", "required": [name], "properties": {name: ref("DistinctId")}}


def _refused_event() -> Node:
    return {
        "type": "object",
        "required": ["index", "slug", "error"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "slug": {"enum": [kind.slug for kind in KINDS if kind.reason is not None]},
            "error": {"type": "string"},
        },
    }
