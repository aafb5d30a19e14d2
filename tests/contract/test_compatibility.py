"""What may follow a schema: a keyword that narrows is refused with its place; what passes takes all of before."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from searches import search

from streamapp.schemas.compatibility.rules import incompatibilities

Schema = dict[str, Any]
BASE: Schema = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "l": {"type": "array", "items": {"type": "string"}},
        "o": {"type": "object"},
        "s": {"type": "string"},
    },
    "required": ["a"],
}


def _root(**keywords: object) -> Callable[[Schema], None]:
    return lambda schema: schema.update(keywords)


def _at(name: str, **keywords: object) -> Callable[[Schema], None]:
    return lambda schema: schema["properties"][name].update(keywords)


NARROWING: dict[str, Callable[[Schema], None]] = {
    "/additionalProperties": _root(additionalProperties=False),
    "/properties/a/multipleOf": _at("a", multipleOf=5),
    "/properties/l/uniqueItems": _at("l", uniqueItems=True),
    "/maxProperties": _root(maxProperties=2),
    "/minProperties": _root(minProperties=2),
    "/not": _root(**{"not": {"properties": {"a": {"const": 3}}}}),
    "/dependentRequired": _root(dependentRequired={"a": ["s"]}),
    "/dependentSchemas": _root(dependentSchemas={"a": {"required": ["s"]}}),
    "/if": _root(**{"if": {"required": ["s"]}, "then": {"required": ["l"]}}),
    "/patternProperties": _root(patternProperties={"^a$": {"minimum": 4}}),
    "/propertyNames": _root(propertyNames={"pattern": "^z"}),
    "/unevaluatedProperties": _root(unevaluatedProperties=False),
    "/properties/l/contains": _at("l", contains={"const": "x"}),
    "/properties/l/prefixItems": _at("l", prefixItems=[{"const": "x"}]),
    "/properties/l/unevaluatedItems": _at("l", unevaluatedItems=False),
    "/properties/l/items/maxLength": _at("l", items={"type": "string", "maxLength": 3}),
    "/properties/o/additionalProperties": _at("o", additionalProperties={"type": "string"}),
    "/properties/s/format": _at("s", format="date-time"),
    "/properties/s/pattern": _at("s", pattern="^a"),
    "/properties/s/contentEncoding": _at("s", contentEncoding="base64"),
    "/properties/s/oneOf": _at("s", oneOf=[{"maxLength": 3}, {"minLength": 4}]),
    "/properties/s/enum": _at("s", enum=["x"]),
    "/required": _root(required=["a", "s"]),
    "/properties/s": lambda schema: schema["properties"].update(s=False),
    "/properties": lambda schema: schema["properties"].pop("s"),
}


@pytest.mark.parametrize("pointer", NARROWING)
def test_each_keyword_that_narrows_is_refused_with_its_place(pointer: str) -> None:
    new = copy.deepcopy(BASE)
    NARROWING[pointer](new)
    assert [problem.pointer for problem in incompatibilities(BASE, new)] == [pointer]
    assert incompatibilities(new, new) == []


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ({"type": "string", "minimun": 3}, "the keyword 'minimun' is not understood here; leave it out"),
        ({"$ref": "http://x/y.json"}, "the reference 'http://x/y.json' leads out of the schema"),
        ({"$ref": "#/$defs/none"}, "the reference '#/$defs/none' leads nowhere"),
        ({"$ref": "#"}, "it is nested or refers too deeply"),
        ({"$dynamicRef": "#x"}, "the keyword '$dynamicRef' is not understood"),
        ({"type": "text"}, "'text' names no type of JSON"),
        ({"type": 5}, "5 names no type of JSON"),
        ({"maximum": True}, "maximum is not a number"),
        ({"properties": []}, "properties has another form"),
        ({"items": [{"type": "string"}]}, "a schema is an object, true or false"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "two different rules 'pattern' are put on one thing"),
        ([], "a schema is an object, true or false"),
    ],
)
def test_what_cannot_be_understood_is_refused(new: object, why: str) -> None:
    (problem,) = incompatibilities({"items": {"type": "string"}}, new)
    assert problem.what.startswith(f"cannot be compared: {why}")


def test_booleans_definitions_and_schemas_that_refer_to_themselves_are_compared() -> None:
    assert incompatibilities({"type": "string"}, True) == []
    assert [str(problem) for problem in incompatibilities(BASE, False)] == [
        "the event changed its type from object to nothing"
    ]
    tree = {"type": "object", "properties": {"below": {"$ref": "#"}, "name": {"$ref": "#/definitions/n"}}}
    old = tree | {"definitions": {"n": {"type": "string"}}}
    new = tree | {"definitions": {"n": {"type": "string", "maxLength": 5}}}
    assert incompatibilities(old, old) == []
    assert [(problem.path, problem.pointer) for problem in incompatibilities(old, new)] == [
        ("below.name", "/definitions/n/maxLength"),
        ("name", "/definitions/n/maxLength"),
    ]


def test_alternatives_are_matched_one_by_one() -> None:
    """Limits of one alternative say nothing about another: with a pattern each, the longer text has none to take it."""
    old = {"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "string", "maxLength": 3}, {"type": "null"}]}
    assert incompatibilities(old, {"anyOf": [{"type": "string"}, {"type": "null"}]}) == []
    new = {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^a"}]}
    assert [problem.what for problem in incompatibilities(old, new)] == ["got a pattern"]
    assert incompatibilities({"enum": ["a", "b"]}, {"anyOf": [{"const": "b"}, {"const": "a"}]}) == []


@pytest.mark.parametrize(
    "hostile",
    [
        lambda: json.loads('{"items":' * 500 + "true" + "}" * 500),
        lambda: {"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(500)}, "$ref": "#/$defs/d0"},
        lambda: {"allOf": [{"anyOf": [{"minimum": i} for i in range(40)]} for _ in range(6)]},
        lambda: _wide(12),
    ],
)
def test_a_hostile_schema_is_refused_at_once(hostile: Callable[[], object]) -> None:
    schema = hostile()
    began = time.process_time()
    (problem,) = incompatibilities(schema, schema)
    assert problem.what.startswith("cannot be compared")
    assert time.process_time() - began < 1


def _wide(depth: int) -> Schema:
    if not depth:
        return {"type": "string"}
    return {"anyOf": [{"properties": {"x": _wide(depth - 1)}, "minProperties": i} for i in range(2)]}


# Schemas small enough that generated values meet their edges.
_LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={"minimum": st.integers(-3, 3), "maximum": st.integers(4, 9), "multipleOf": st.sampled_from([2, 3])},
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(2, 4),
            "pattern": st.sampled_from(["a", "^b"]),
        },
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", "b", "cc", None, 1]), min_size=1, unique_by=repr)}),
    st.just({"type": "boolean"}),
)


def _nested(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    fields = st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": fields},
            optional={
                "required": st.lists(st.sampled_from("xyz"), unique=True),
                "additionalProperties": st.one_of(st.booleans(), inner),
                "minProperties": st.integers(0, 2),
                "propertyNames": st.just({"maxLength": 1}),
            },
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(1, 3)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
    )


SCHEMAS = st.recursive(_LEAVES, _nested, max_leaves=6)


_KEYWORDS: dict[str, st.SearchStrategy[Schema]] = {
    "integer": st.sampled_from([{"minimum": -1}, {"maximum": 3}, {"multipleOf": 2}, {"exclusiveMinimum": 0}]),
    "string": st.sampled_from([{"minLength": 1}, {"maxLength": 1}, {"pattern": "a"}, {"enum": ["a", "b"]}]),
    "array": st.sampled_from(
        [{"maxItems": 1}, {"minItems": 1}, {"uniqueItems": True}, {"contains": {"type": "string"}}]
    ),
    "object": st.sampled_from(
        [
            {"required": ["x"]},
            {"additionalProperties": False},
            {"minProperties": 1},
            {"maxProperties": 1},
            {"dependentRequired": {"x": ["y"]}},
            {"patternProperties": {"^x": {"type": "string"}}},
        ]
    ),
}


@st.composite
def _followers(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema and one that somebody might want to put in its place: one to three edits away."""
    old = draw(SCHEMAS)
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 3))):
        _edit(draw, draw(st.sampled_from(_places(new))))
    return old, new


def _places(schema: Schema) -> list[Schema]:
    inner = [one for key in ("anyOf", "allOf") for one in schema.get(key, ())]
    inner += [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return [schema, *(place for one in inner if isinstance(one, dict) for place in _places(one))]


def _edit(draw: st.DrawFn, place: Schema) -> None:
    what = draw(st.sampled_from(("drop", "move", "put", "put", "add", "replace")))
    droppable = [key for key in place if key not in ("type", "properties")]
    if what == "drop" and droppable:
        del place[draw(st.sampled_from(droppable))]
    elif what == "move":
        numbers = [key for key, value in place.items() if isinstance(value, int) and not isinstance(value, bool)]
        place |= {key: place[key] + draw(st.integers(-2, 2)) for key in numbers if key not in ("multipleOf", "const")}
    elif what == "put" and place.get("type") in _KEYWORDS:
        place |= draw(_KEYWORDS[place["type"]])
    elif what == "add" and "properties" in place:
        place["properties"][draw(st.sampled_from("wxy"))] = draw(SCHEMAS) | {"default": None}
    elif what == "replace" and "enum" in place:
        place["enum"] = draw(st.lists(st.sampled_from(place["enum"]), min_size=1, unique_by=repr))


def _closed(schema: Any) -> Any:
    """As its producers mean it: they send the fields that it names."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(one) for key, one in schema.items()}
    if schema.get("type") == "object" and not isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = False
    return closed


def _read(schema: Any) -> Any:
    """As its readers mean it: a field with a default may be missing."""
    if isinstance(schema, list):
        return [_read(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _read(one) for key, one in schema.items()}
    if isinstance(schema.get("properties"), dict) and "required" in schema:
        with_default = {
            name for name, one in schema["properties"].items() if isinstance(one, dict) and "default" in one
        }
        read["required"] = [name for name in schema["required"] if name not in with_default]
    return read


def _event(draw: st.DrawFn, schema: Any) -> Any:
    """A value in the form of a schema; most of them are valid."""
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    for key in ("anyOf", "allOf"):
        if key in schema:
            return _event(draw, draw(st.sampled_from(schema[key])))
    kind = schema["type"]
    if kind == "object":
        names = schema["properties"]
        named = {name: _event(draw, one) for name, one in names.items() if draw(st.booleans())}
        further = schema["additionalProperties"]
        return named | ({"y": _event(draw, further)} if isinstance(further, dict) and "y" not in names else {})
    if kind == "array":
        return [_event(draw, schema["items"]) for _ in range(draw(st.integers(0, 3)))]
    simple = {"integer": st.integers(-4, 10), "string": st.text("abc", max_size=5), "boolean": st.booleans()}
    return draw(simple[kind])


@given(_followers(), st.data())
@search(1200)
def test_what_is_called_compatible_takes_whatever_the_old_schema_took(
    pair: tuple[Schema, Schema], data: st.DataObject
) -> None:
    old, new = pair
    assume(not incompatibilities(old, new))
    before = jsonschema.Draft202012Validator(_closed(old))
    after = jsonschema.Draft202012Validator(_read(new))
    for _ in range(8):
        event = data.draw(st.composite(_event)(before.schema))
        assert after.is_valid(event) or not before.is_valid(event)
