"""The C reader's tables of fields, written from the models: `python -m streamapp.lane.events` after a model changes.

What a field must be is read from the model's JSON Schema; the order is that in which producers write the fields, as the
decoders' structs have it. `c/read/events.h` is kept in the repository, so that a compiler is all that a build needs;
tests/unit/test_declared_once.py holds it to the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from streamapp.lane.build import SOURCES
from streamapp.schemas.captured import UUID_PATTERN, EventCaptured
from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import CURRENCY_PATTERN, ID_PATTERN, UPPER_PATTERN
from streamapp.schemas.judging.insights import Captured, CapturedPayload
from streamapp.schemas.judging.metering import Metering, MeteringData
from streamapp.schemas.judging.usage import Usage, UsageData
from streamapp.schemas.llm_usage import LlmUsage
from streamapp.schemas.rpc_metering import RpcMetered
from streamapp.schemas.values.money import PRICE_PATTERN

HEADER = SOURCES / "read" / "events.h"


class Declared(NamedTuple):
    """An event type: its model, and the structs that the fast decoder reads envelope and payload into."""

    model: type[Envelope]
    envelope: type[Struct]
    payload: type[Struct]


EVENTS = {
    "LLM_USAGE": Declared(LlmUsage, Usage, UsageData),
    "RPC_METERED": Declared(RpcMetered, Metering, MeteringData),
    "EVENT_CAPTURED": Declared(EventCaptured, Captured, CapturedPayload),
}
_BY_PATTERN = {
    ID_PATTERN: "ID",
    UPPER_PATTERN: "CURRENCY",
    CURRENCY_PATTERN: "TOKEN",
    UUID_PATTERN: "UUID",
    PRICE_PATTERN: "PRICE",
}
_BY_TYPE = {"string": "TEXT", "boolean": "FLAG", "integer": "COUNT", "number": "COST", "object": "OBJECT"}
_TEXTS = ("TEXT", "ID", "CURRENCY", "TOKEN", "UUID", "OBJECT")
_NOT_STATED = {"MEASURE": "UNMEASURED", "FLAG": "-1"}  # where the default is null


class Field(NamedTuple):
    """One field as `event.h` reads it. `low` and `high` are lengths of a text."""

    name: str
    kind: str
    is_required: bool
    low: int
    high: int
    words: tuple[str, ...]
    default: Any

    def line(self) -> str:
        """The field as an argument list of the macro that makes something of it."""
        words = f"WORDS({', '.join(map(json.dumps, self.words))})" if self.words else "NULL"
        numbers = f"{int(self.is_required)}, {self.low}, {self.high}"
        return f"FIELD(IN, {self.name}, {self.kind}, {numbers}, {words}, {self._fresh()})"

    def _fresh(self) -> str:
        if self.default is None:
            return _NOT_STATED.get(self.kind, "{0}" if self.kind in (*_TEXTS, "COST", "PRICE") else "0")
        if self.kind == "CHOICE":
            return str(self.words.index(self.default))
        return f"TEXT_OF({json.dumps(self.default)})" if self.kind in _TEXTS else str(int(self.default))


def fields(declared: Declared) -> tuple[list[Field], list[Field]]:
    """The fields of an event's envelope but `data`, and those of its payload."""
    schema = declared.model.model_json_schema(by_alias=True)
    payload = _resolved(schema["properties"]["data"], schema)
    return list(_fields(declared.envelope, schema, schema)), list(_fields(declared.payload, payload, schema))


def header() -> str:
    """What stands in `c/read/events.h`."""
    lines = [
        "/* Written by `python -m streamapp.lane.events` from the models in streamapp/schemas/; never by hand. A macro",
        " * for each object: FIELD(IN, name, kind, is required, least and greatest length, words, default). */",
        "#ifndef EVENTS_H",
        "#define EVENTS_H",
        "",
    ]
    longest = 0
    for name, declared in EVENTS.items():
        for suffix, found in zip(("", "_DATA"), fields(declared), strict=True):
            body = [f"    {field.line()}" for field in found]
            lines += [" \\\n".join([f"#define {name}{suffix}(FIELD, IN)", *body]), ""]
            longest = max(longest, *(field.high for field in found))
    return "\n".join([*lines, f"#define TEXT_MAX {longest} /* the longest of these */", "", "#endif", ""])


def _fields(struct: type[Struct], schema: dict[str, Any], root: dict[str, Any]) -> Iterator[Field]:
    for name in struct.__struct_fields__:
        if name in schema["properties"] and name != "data":
            yield _field(name, _resolved(schema["properties"][name], root), name in schema["required"])


def _field(name: str, said: dict[str, Any], is_required: bool) -> Field:
    words = tuple(said.get("enum", [said["const"]] if "const" in said else []))
    if words:
        kind = "CHOICE"
    elif "pattern" in said:
        kind = _BY_PATTERN[said["pattern"]]
    elif said.get("format") == "date-time":
        kind = "TIMESTAMP"
    else:
        kind = _BY_TYPE[said["type"]] if "type" in said else "MEASURE"
    return Field(
        name, kind, is_required, said.get("minLength", 0), said.get("maxLength", 0), words, said.get("default")
    )


def _resolved(said: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """What a schema says, itself or by reference, of values that are not null."""
    for part in said.get("anyOf", []):
        if part.get("type") != "null":
            return _resolved({**part, "default": said.get("default")}, root)
    if "$ref" in said:
        return {**root["$defs"][said["$ref"].rpartition("/")[2]], **said}
    return said


if __name__ == "__main__":
    HEADER.write_text(header(), encoding="utf-8")
