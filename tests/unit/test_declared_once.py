"""A field of an event type is declared in its model: what reads events fast says the same, and cannot differ."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamapp.lane.events import EVENTS, HEADER, Declared, fields, header

COMPUTED = {"at_ms", "is_rounded", "amount"}  # fields of the structs that no producer states
LIMITS = ("minLength", "maxLength", "minimum", "maximum")
LOOKED_AT_LATER = {"price", "cost_usd", "latency_ms", "ttft_ms", "properties", "data"}  # by the decoder, or as a part
PARTS = [(name, part) for name in EVENTS for part in ("envelope", "payload")]


def test_the_tables_of_the_c_reader_are_those_of_the_models() -> None:
    assert HEADER.read_text(encoding="utf-8") == header(), "write it again: python -m streamapp.lane.events"


def test_every_envelope_has_the_same_fields_of_the_same_kinds() -> None:
    envelopes = {tuple((field.name, field.kind) for field in fields(declared)[0]) for declared in EVENTS.values()}
    assert len(envelopes) == 1, "`envelope_t` is the same for all"


def stated(schema: dict[str, Any], root: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What a schema says of values that are not null, and whether null is allowed."""
    parts = schema.get("anyOf", [schema])
    (own,) = [part for part in parts if part.get("type") != "null"] or [{}]
    if "$ref" in own:
        own = root["$defs"][own["$ref"].rpartition("/")[2]]
    return own, len(parts) > 1 or not own


def objects(declared: Declared, part: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The JSON Schemas of the model and of the struct that reads it, each with the one that its references are in."""
    struct = declared.envelope if part == "envelope" else declared.payload
    model = declared.model.model_json_schema(by_alias=True)
    (found,), defs = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    read = {"$defs": defs}
    payload, _ = stated(model["properties"]["data"], model)
    return model if part == "envelope" else payload, model, stated(found, read)[0], read


def words(said: dict[str, Any]) -> set[str]:
    """What a text may be, where only these are."""
    return {*said.get("enum", ()), *([said["const"]] if "const" in said else ())}


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_the_struct_of_a_decoder_has_the_fields_of_the_model(name: str, part: str) -> None:
    model, _, struct, _ = objects(EVENTS[name], part)
    assert set(struct["properties"]) - COMPUTED == set(model["properties"])
    assert set(struct["required"]) == set(model["required"])


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_field_of_a_struct_takes_nothing_that_the_model_refuses(name: str, part: str) -> None:
    """What a struct leaves open (patterns, moments, money) the decoder looks at: properties hold it to the model."""
    model, models, struct, structs = objects(EVENTS[name], part)
    for field, said in model["properties"].items():
        read = struct["properties"][field]
        (wanted, may_be_null), (own, takes_null) = stated(said, models), stated(read, structs)
        if field not in LOOKED_AT_LATER:
            assert {limit: own.get(limit) for limit in LIMITS} == {limit: wanted.get(limit) for limit in LIMITS}, field
            assert words(own) == words(wanted), field
            assert own.get("type", "string") == wanted["type"], field
        assert may_be_null or not takes_null or not own, field
        if (default := read.get("default")) is not None:
            assert default == said["default"], field
        elif field not in struct["required"]:
            assert said.get("default") is None, field
