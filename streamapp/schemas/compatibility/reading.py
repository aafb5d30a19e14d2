"""A JSON Schema as what compatibility compares: alternatives, each one set of keywords, each keyword with its place.

References, `anyOf`, `allOf` and boolean schemas are resolved here. What cannot be followed for certain is refused with
the place where it stands: a remote reference, a keyword that nobody here understands, two sets of rules that `allOf`
puts on one thing. Nothing that is not understood passes as compatible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]

DEPTH_MAX = 32
ALTERNATIVES_MAX = 256
STEPS_MAX = 10_000  # of one document in one comparison, some hundredths of a second

LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
EXACT = (
    "pattern", "format", "multipleOf", "uniqueItems", "not", "oneOf", "propertyNames", "dependentRequired",
    "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "contentEncoding", "contentMediaType",
    "contentSchema",
)  # fmt: skip
"""Keywords that may be dropped, but neither come nor change: nothing here can tell which of two takes more."""

GROUPS = (("if", "then", "else"), ("contains", "minContains", "maxContains"), ("prefixItems",), ("patternProperties",))
"""The same for keywords that only mean something together, or whose absence hands their part to a neighbour."""

_ANNOTATIONS = frozenset(
    {"title", "description", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "default", "discriminator"}
)
_ROOT_ONLY = frozenset({"$schema", "$id", "$defs", "definitions"})
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "dependentRequired", "$defs", "definitions"})
"""Keywords whose value is a map from names to schemas: what looks like a keyword there is a name."""
_DATA = frozenset({"const", "enum"})
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_COMBINING = frozenset({"$ref", "anyOf", "allOf"})
_COMPARED = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", *LOWER, *UPPER, *EXACT}
).union(*GROUPS)
_KNOWN = _COMPARED | _ANNOTATIONS | _COMBINING
_INNER = frozenset({"$defs", "definitions"})


class NotJudged(Exception):
    """This schema cannot be compared: why, and the JSON Pointer of the place."""

    def __init__(self, why: str, pointer: str) -> None:
        super().__init__(why, pointer)
        self.why, self.pointer = why, pointer


class Place(NamedTuple):
    """A schema (an object, or true or false) and the JSON Pointer of where it stands."""

    schema: Any
    pointer: str


Alternative = dict[str, Place]
"""Keyword → its value and place. One value is valid under a schema if one of the schema's alternatives takes it."""


class Document:
    """One schema with all that its references lead to."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    @property
    def root(self) -> Place:
        return Place(self._root, "")

    def alternatives(self, place: Place, depth: int = 0) -> list[Alternative]:
        """What this schema allows; [] for `false`. Raises NotJudged."""
        schema, pointer = place
        self._step(pointer)
        if depth > DEPTH_MAX:
            raise NotJudged("it is nested or refers too deeply", pointer)
        if isinstance(schema, bool):
            return [{}] if schema else []
        if not isinstance(schema, dict):
            raise NotJudged("a schema is an object, true or false", pointer)
        found = [self._own(schema, pointer)]
        if "$ref" in schema:
            found = _both(found, self.alternatives(self.follow(schema["$ref"], pointer), depth + 1), pointer)
        for part in self._parts(schema, "allOf", pointer):
            found = _both(found, self.alternatives(part, depth + 1), pointer)
        if "anyOf" in schema:
            any_of = [
                one for part in self._parts(schema, "anyOf", pointer) for one in self.alternatives(part, depth + 1)
            ]
            found = _both(found, any_of, pointer)
        return found

    def follow(self, reference: object, pointer: str) -> Place:
        """Where a reference leads. Raises NotJudged if it leads out of this schema, or nowhere."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise NotJudged(
                f"the reference {reference!r} leads out of the schema; copy what it means into $defs", pointer
            )
        found: Any = self._root
        for part in reference[2:].split("/") if reference != "#" else ():
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise NotJudged(f"the reference {reference!r} leads nowhere", pointer)
            found = found[name]
        return Place(found, reference[1:])

    def plain(self, value: Any, pointer: str, depth: int = 0, *, names: bool = False) -> Any:
        """A keyword's value with references replaced by what they mean and without annotations, to be compared."""
        self._step(pointer)
        if depth > DEPTH_MAX:
            raise NotJudged("it is nested or refers too deeply", pointer)
        if isinstance(value, list):
            return [self.plain(one, pointer, depth + 1) for one in value]
        if not isinstance(value, dict):
            return value
        if names:
            return {name: self.plain(one, pointer, depth + 1) for name, one in value.items()}
        if "$ref" in value:
            target = self.plain(self.follow(value["$ref"], pointer).schema, pointer, depth + 1)
            rest = self.plain({key: one for key, one in value.items() if key != "$ref"}, pointer, depth + 1)
            return {"allOf": [target, rest]} if rest else target
        return {
            key: one if key in _DATA else self.plain(one, pointer, depth + 1, names=key in NAMED)
            for key, one in value.items()
            if key not in _ANNOTATIONS
        }

    def _step(self, pointer: str) -> None:
        """References can make a few lines mean millions."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise NotJudged(f"it means more than {STEPS_MAX} schemas and values", pointer)

    def _own(self, schema: Schema, pointer: str) -> Alternative:
        also = _INNER if pointer else _ROOT_ONLY
        for keyword in schema:
            if keyword not in _KNOWN and keyword not in also:
                raise NotJudged(f"the keyword {keyword!r} is not understood here; leave it out", pointer)
        self._check(schema, pointer)
        own = {key: Place(schema[key], f"{pointer}/{key}") for key in schema if key in _COMPARED}
        if "default" in schema:
            own["default"] = Place(schema["default"], f"{pointer}/default")
        return own

    def _check(self, schema: Schema, pointer: str) -> None:
        named = schema.get("type", [])
        listed = named if isinstance(named, list) else [named]
        if not all(isinstance(name, str) and name in _TYPES for name in listed):
            raise NotJudged(f"{named!r} names no type of JSON", pointer)
        for keyword in (*LOWER, *UPPER):
            if keyword in schema and (
                isinstance(schema[keyword], bool) or not isinstance(schema[keyword], int | float)
            ):
                raise NotJudged(f"{keyword} is not a number", pointer)
        for keyword, form in (("properties", dict), ("required", list), ("enum", list), ("patternProperties", dict)):
            if keyword in schema and not isinstance(schema[keyword], form):
                raise NotJudged(f"{keyword} has another form than JSON Schema gives it", pointer)

    def _parts(self, schema: Schema, keyword: str, pointer: str) -> Iterator[Place]:
        parts = schema.get(keyword, [])
        if not isinstance(parts, list):
            raise NotJudged(f"{keyword} is not a list", pointer)
        for index, part in enumerate(parts):
            yield Place(part, f"{pointer}/{keyword}/{index}")


def child(place: Place, name: str) -> Place:
    """The schema of one name in `properties`."""
    return Place(place.schema[name], f"{place.pointer}/{name.replace('~', '~0').replace('/', '~1')}")


def types(alternative: Alternative) -> frozenset[str]:
    """JSON types that this alternative takes; `any` if it names none."""
    if "type" not in alternative:
        return frozenset(map(_type_of, values(alternative) or ())) or frozenset({"any"})
    named = alternative["type"].schema
    return frozenset([named] if isinstance(named, str) else named)


def values(alternative: Alternative) -> list[Any] | None:
    """The closed list of values that this alternative takes; None if it has none."""
    if "const" in alternative:
        return [alternative["const"].schema]
    return list(alternative["enum"].schema) if "enum" in alternative else None


def _type_of(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _both(left: list[Alternative], right: list[Alternative], pointer: str) -> list[Alternative]:
    """What satisfies one of each: every pair of alternatives as one."""
    if len(left) * len(right) > ALTERNATIVES_MAX:
        raise NotJudged(f"it has more than {ALTERNATIVES_MAX} alternatives", pointer)
    return [_joined(one, other) for one in left for other in right]


def _joined(one: Alternative, other: Alternative) -> Alternative:
    joined = dict(one)
    for keyword, place in other.items():
        joined[keyword] = _joint(keyword, joined[keyword], place) if keyword in joined else place
    return joined


def _joint(keyword: str, one: Place, other: Place) -> Place:
    if keyword == "default" or _text(one.schema) == _text(other.schema):
        return one
    if keyword in LOWER or keyword in UPPER:
        return (max if keyword in LOWER else min)(one, other, key=lambda place: place.schema)
    if keyword == "required":
        return one._replace(schema=[*one.schema, *other.schema])
    if keyword == "properties":
        shared = one.schema.keys() & other.schema.keys()
        both = {name: {"allOf": [one.schema[name], other.schema[name]]} for name in shared}
        return Place(one.schema | other.schema | both, f"{one.pointer}&{other.pointer}")
    raise NotJudged(f"two different rules {keyword!r} are put on one thing; write them as one", other.pointer)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
