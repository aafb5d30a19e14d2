"""BACKWARD compatibility of JSON Schemas, in the standard's words (section "Compatibility Rules", decision 27).

Fields may be added with a default. They are not removed or renamed, their types do not change, and what was valid stays
valid: no field becomes required, no value and no range is taken away. An added optional field is fine, although a
strict reader would object that some producer may already send it with another type. A field that takes any value from
now on is fine, too: whoever reads the new schema reads all old events. It is the one change of a type that is allowed;
decision 6 needs it, because a measurement may be anything and the event is billed all the same (docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_FORM = ("pattern", "format")


ANY = frozenset({"any"})
_CURRENCY_BEFORE = r"^[A-Z0-9]+$"
WIDER: frozenset[tuple[str, str]] = frozenset(
    {
        (_CURRENCY_BEFORE, r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),  # of statements (decision 15)
        # Prices: -0 is zero.
        (
            r"^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$",
            r"^(-0(\.0+)?|(0|[1-9][0-9]*)(\.[0-9]+)?)([eE][+-]?[0-9]{1,3})?$",
        ),
    }
)
"""Pattern → the one that may take its place, because it takes all that the first one took. Nothing can tell that of two
patterns, so those that were looked at are listed."""

NARROWER: frozenset[tuple[str, str, str]] = frozenset(
    {("data.currency", _CURRENCY_BEFORE, r"^[A-Za-z][A-Za-z0-9._-]*$")}  # of calls: begins with a letter (decision 15)
)
"""Field, pattern, and the pattern that took its place although it takes less: an exception that a decision asked
for. Events of before with such a value are refused, and stand in `dead_letter`."""


class Field(NamedTuple):
    """One field of a schema, by its path: `data.totals.cost`, `data.lines[].model`; the event itself is ``."""

    types: frozenset[str]
    required: bool
    default: bool
    values: frozenset[str] | None  # the closed list of values, each as repr; None if any value will do
    limits: dict[str, Any]


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What a reader of the new schema could not do with events of the old one; one sentence each, sorted by field.

    Empty if the new version may replace the old one.
    """
    before, after = fields(old), fields(new)
    problems: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        name = path or "the event"
        if path not in after:
            # A renamed field is one removed and one added: nothing in a schema tells the two apart.
            problems.append(f"{name} was removed or renamed; mark it as deprecated instead")
        elif path not in before:
            if after[path].required and not after[path].default and _parent(path) in before:
                problems.append(f"{name} was added as required; give it a default")
        else:
            problems += [f"{name} {problem}" for problem in _narrowed(path, before[path], after[path])]
    return problems


def fields(schema: Schema) -> dict[str, Field]:
    """Path → field, references and alternatives (anyOf, allOf, oneOf) resolved."""
    return dict(_walk(schema, schema.get("$defs", {}), "", required=True))


def _narrowed(path: str, old: Field, new: Field) -> Iterator[str]:
    if old.types != new.types and new.types != ANY:
        yield f"changed its type from {_list(old.types)} to {_list(new.types)}"
    if new.required and not old.required and not new.default:
        yield "became required"
    if old.default and not new.default and not new.required:
        yield "lost its default"
    if new.values is not None and (old.values is None or not old.values <= new.values):
        only = "now allows only a closed list of values"
        yield only if old.values is None else f"no longer allows {_list(old.values - new.values)}"
    for key, limit in new.limits.items():
        before = old.limits.get(key)
        listed = (before, limit) in WIDER or (path, before, limit) in NARROWER
        if key in _FORM and before != limit and not listed:
            yield f"changed its {key}" if before is not None else f"got a {key}"
        if key == "maxLength" and old.values is not None and all(len(value) - 2 <= limit for value in old.values):
            continue  # the closed list was narrower
        if (key in _LOWER and (before is None or limit > before)) or (
            key in _UPPER and (before is None or limit < before)
        ):
            yield f"has a narrower {key}: {limit}, was {'none' if before is None else before}"


def _walk(schema: Schema, defs: dict[str, Schema], path: str, *, required: bool) -> Iterator[tuple[str, Field]]:
    branches = list(_branches(schema, defs))
    limits: dict[str, Any] = {}
    values: set[str] = set()
    open_ended = False
    for branch in branches:
        limits |= {key: branch[key] for key in (*_LOWER, *_UPPER, *_FORM) if key in branch}
        if "const" in branch:
            values.add(repr(branch["const"]))
        elif "enum" in branch:
            values |= {repr(value) for value in branch["enum"]}
        elif branch.get("type") == "null":
            values.add(repr(None))
        else:
            open_ended = True
    types = frozenset(name for branch in branches for name in _types(branch))
    default = any("default" in branch for branch in (schema, *branches))
    yield path, Field(types, required, default, None if open_ended else frozenset(values), limits)
    for branch in branches:
        for name, child in branch.get("properties", {}).items():
            below = f"{path}.{name}" if path else name
            yield from _walk(child, defs, below, required=name in branch.get("required", ()))
        if isinstance(branch.get("items"), dict):
            yield from _walk(branch["items"], defs, f"{path}[]", required=False)
        if isinstance(branch.get("additionalProperties"), dict):
            yield from _walk(branch["additionalProperties"], defs, f"{path}{{}}", required=False)


def _branches(schema: Schema, defs: dict[str, Schema]) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _branches(defs[schema["$ref"].rpartition("/")[2]], defs)
        return
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if not alternatives:
        yield schema
    for alternative in alternatives:
        yield from _branches(alternative, defs)


def _types(branch: Schema) -> list[str]:
    types = branch.get("type", "any")
    return [types] if isinstance(types, str) else list(types)


def _parent(path: str) -> str:
    head, dot, _ = path.rpartition(".")
    return head if dot else ""


def _list(names: frozenset[str]) -> str:
    return " or ".join(sorted(names)) or "nothing"
