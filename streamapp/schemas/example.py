"""An event as a schema wants it, for people who have to send one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DEPTH_MAX = 16
TEXTS = (
    "example", "USD", "evt_01JHKQ4Z0W8V4T1N5G2R7C9M3X", "2025-01-15T10:30:00.123Z", "2025-01", "0.003800000000",
    "0.001", "service.entity.action", "0190a2c4-7b1e-7c3d-9f52-3a1b5c7d9e0f", "ZXhhbXBsZQ==",
)  # fmt: skip
"""The first of these that a pattern takes."""

NAMED = {"id": TEXTS[2], "billing_id": TEXTS[2], "settlement_id": TEXTS[2], "currency": "USD"}


def example(schema: Mapping[str, Any]) -> Any:
    """An instance with every field that is required; of a choice the first. It is valid where limits do not depend on
    each other, as in the schemas of this project."""
    return _value(schema, schema, "", 0)


def _value(schema: Any, root: Mapping[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return None
    if "$ref" in schema:
        return _value(_followed(root, schema["$ref"]), root, name, depth + 1)
    for keyword in ("const", "enum", "examples"):
        if keyword in schema:
            return schema[keyword] if keyword == "const" else schema[keyword][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return _value(schema[keyword][0], root, name, depth + 1)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            fields = schema.get("properties", {})
            return {key: _value(fields.get(key), root, key, depth + 1) for key in schema.get("required", ())}
        case "array":
            return [_value(schema.get("items"), root, name, depth + 1) for _ in range(schema.get("minItems", 0))]
        case "string":
            return _text(schema, name)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
    return None


def _text(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") == "date-time":
        return TEXTS[3]
    wanted = re.compile(schema.get("pattern", ""))
    texts = (NAMED.get(name, TEXTS[0]), *TEXTS)
    return next((text for text in texts if wanted.search(text) and len(text) <= schema.get("maxLength", 256)), TEXTS[0])


def _followed(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
