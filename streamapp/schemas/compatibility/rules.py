"""BACKWARD compatibility of JSON Schemas, in the standard's words (section "Compatibility Rules", decision 27).

Fields may be added with a default. They are not removed or renamed, their types do not change, and what was valid stays
valid: no field becomes required, no value and no range is taken away, no object is closed. An added optional field is
fine, although a strict reader would object that some producer may already send it with another type (Confluent calls
this policy LENIENT). A field that takes any value from now on is fine, too: whoever reads the new schema reads all old
events. It is the one change of a type that is allowed; decision 6 needs it, because a measurement may be anything and
the event is billed all the same (docs/adr/0026).

Sound by construction: every alternative of the old schema needs one of the new schema that takes all of it, and each
keyword of that one is unchanged, known to be wider, or refused (docs/adr/0051).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from streamapp.schemas.compatibility.reading import (
    DEPTH_MAX,
    EXACT,
    GROUPS,
    LOWER,
    NAMED,
    UPPER,
    Alternative,
    Document,
    NotJudged,
    Place,
    child,
    types,
    values,
)

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

STEPS_MAX = 1_000  # a tenth of a second; the catalog's own types take 75 at most
_ANY = frozenset({"any"})


class Problem(NamedTuple):
    """What a reader of the new schema could not do with events of the old one; a sentence as text."""

    # Of the field: `data.totals.cost`, `data.lines[].model`. The event itself is ``, a schema that is not judged is
    # `the schema`.
    path: str
    what: str
    pointer: str  # JSON Pointer into the new schema; of the parent if the field is gone

    def __str__(self) -> str:
        return f"{self.path or 'the event'} {self.what}"


def incompatibilities(old: object, new: object) -> list[Problem]:
    """Why the new schema may not replace the old one, sorted by field; [] if it may.

    Any JSON value is taken: what cannot be compared is a problem itself.
    """
    comparison = _Comparison(Document(old), Document(new))
    try:
        found = sorted(comparison.narrowed("", comparison.old.root, comparison.new.root), reverse=True)
    except NotJudged as reason:
        return [Problem("the schema", f"cannot be compared: {reason.why}", reason.pointer)]
    return sorted({problem[:2]: problem for problem in found}.values())  # one place for each sentence


class _Comparison:
    def __init__(self, old: Document, new: Document) -> None:
        self.old, self.new = old, new
        self._open: set[tuple[str, str]] = set()  # pairs of places that are being compared: a recursive schema
        self._steps = 0
        self._kept: dict[str, frozenset[str]] = {}  # values of a closed list in the new schema, by its place

    def narrowed(self, path: str, old: Place, new: Place) -> Iterator[Problem]:
        """What the new schema at this place no longer takes."""
        pair = (old.pointer, new.pointer)
        if pair in self._open:
            return  # compared already, further up
        self._open.add(pair)
        if len(self._open) > DEPTH_MAX:
            raise NotJudged("it is nested too deeply", new.pointer)
        before, after = self.old.alternatives(old), self.new.alternatives(new)
        were, are = _types(before), _types(after)
        if were != are and are != _ANY:
            yield Problem(path, f"changed its type from {_list(were)} to {_list(are)}", new.pointer)
        else:
            lost: list[str] = []
            for one in (part for whole in before for part in _by_value(whole)):
                best = min((list(self._taken(path, one, other)) for other in after), key=_far)
                gone = [problem for problem in best if isinstance(problem, _Gone)]
                lost += [problem.value for problem in gone]
                yield from (problem for problem in best if isinstance(problem, Problem))
            if lost:
                yield Problem(path, f"no longer allows {' or '.join(sorted(set(lost)))}", new.pointer)
        self._open.discard(pair)

    def _taken(self, path: str, old: Alternative, new: Alternative) -> Iterator[Problem | _Gone]:
        """Why this alternative does not take all of that one."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise NotJudged(f"the two take more than {STEPS_MAX} comparisons", "")
        if "type" in new and not types(old) <= types(new):
            yield Problem(
                path, f"changed its type from {_list(types(old))} to {_list(types(new))}", new["type"].pointer
            )
            return
        yield from self._values(path, old, new)
        yield from self._limits(path, old, new)
        yield from self._exact(path, old, new)
        if "items" in new:
            yield from self._below(f"{path}[]", "items", old, new)
        yield from self._properties(path, old, new)

    def _values(self, path: str, old: Alternative, new: Alternative) -> Iterator[Problem | _Gone]:
        kept, had = values(new), values(old)
        if kept is None:
            return
        place = new["const" if "const" in new else "enum"].pointer
        if had is None:
            yield Problem(path, "now allows only a closed list of values", place)
            return
        have = self._kept.get(place) or self._kept.setdefault(place, frozenset(map(repr, kept)))
        yield from (_Gone(repr(value)) for value in had if repr(value) not in have)

    def _limits(self, path: str, old: Alternative, new: Alternative) -> Iterator[Problem]:
        listed = values(old)
        for keyword in (*LOWER, *UPPER):
            if keyword not in new:
                continue
            limit, before = new[keyword].schema, old[keyword].schema if keyword in old else None
            if listed is not None and keyword == "maxLength":
                narrower = any(isinstance(value, str) and len(value) > limit for value in listed)
            elif keyword in LOWER:
                narrower = before is None or limit > before
            else:
                narrower = before is None or limit < before
            if narrower:
                was = "none" if before is None else before
                yield Problem(path, f"has a narrower {keyword}: {limit}, was {was}", new[keyword].pointer)

    def _exact(self, path: str, old: Alternative, new: Alternative) -> Iterator[Problem]:
        for group in _TOGETHER:
            if new.keys().isdisjoint(group) and old.keys().isdisjoint(group):
                continue
            now, was = _plain(self.new, new, group), _plain(self.old, old, group)
            dropped = not now and _NEIGHBOUR.get(group[0], "") not in new
            if now == was or dropped or self._listed(path, group[0], was, now):
                continue
            place = next((new[keyword].pointer for keyword in group if keyword in new), "")
            yield Problem(path, f"{'changed its' if was else 'got a'} {group[0]}", place)

    def _listed(self, path: str, keyword: str, was: Any, now: Any) -> bool:
        if keyword != "pattern" or not (was and now):
            return False
        pair = (was[keyword], now[keyword])
        return pair in WIDER or (path, *pair) in NARROWER

    def _properties(self, path: str, old: Alternative, new: Alternative) -> Iterator[Problem]:
        had, have = old.get("properties", _NOTHING), new.get("properties", _NOTHING)
        for name in had.schema:
            below = f"{path}.{name}" if path else name
            if name not in have.schema:
                # A renamed field is one removed and one added: nothing in a schema tells the two apart.
                yield Problem(below, "was removed or renamed; mark it as deprecated instead", have.pointer)
                continue
            yield from self._presence(below, name, old, new)
            yield from self.narrowed(below, child(had, name), child(have, name))
        needed = new.get("required", _NO_NAMES).schema
        for name in have.schema.keys() - had.schema.keys():
            below = f"{path}.{name}" if path else name
            if name in needed and not self._default(self.new, child(have, name)):
                yield Problem(below, "was added as required; give it a default", child(have, name).pointer)
            if "patternProperties" in old:
                yield Problem(below, "was added beside patternProperties, which may name it", child(have, name).pointer)
            if "additionalProperties" in old and isinstance(old["additionalProperties"].schema, dict):
                yield from self.narrowed(below, old["additionalProperties"], child(have, name))
        for name in set(needed) - have.schema.keys() - set(old.get("required", _NO_NAMES).schema):
            yield Problem(f"{path}.{name}" if path else name, "became required", new["required"].pointer)
        if "additionalProperties" in new:
            yield from self._below(f"{path}{{}}", "additionalProperties", old, new)

    def _presence(self, path: str, name: str, old: Alternative, new: Alternative) -> Iterator[Problem]:
        had, has = child(old["properties"], name), child(new["properties"], name)
        required, default = name in new.get("required", _NO_NAMES).schema, self._default(self.new, has)
        if required and not default and name not in old.get("required", _NO_NAMES).schema:
            yield Problem(path, "became required", new["required"].pointer)
        if self._default(self.old, had) and not default and not required:
            yield Problem(path, "lost its default", has.pointer)

    def _default(self, document: Document, place: Place) -> bool:
        return any("default" in one for one in document.alternatives(place))

    def _below(self, path: str, keyword: str, old: Alternative, new: Alternative) -> Iterator[Problem]:
        """Items, or fields without a name of their own: as narrow as before, or open."""
        if new[keyword].schema in (True, {}):
            return
        if keyword in old:
            yield from self.narrowed(path, old[keyword], new[keyword])
        elif new[keyword].schema is False:
            yield Problem(
                path[:-2], "was closed: it no longer takes further " + _FURTHER[keyword], new[keyword].pointer
            )
        else:
            yield Problem(path[:-2], f"got rules for further {_FURTHER[keyword]}", new[keyword].pointer)


class _Gone(NamedTuple):
    """A value of the closed list that is taken no more."""

    value: str


_TOGETHER = (*((keyword,) for keyword in EXACT), *GROUPS)  # keywords that are compared as one
_NOTHING = Place({}, "")
_NO_NAMES = Place([], "")
_FURTHER = {"items": "items", "additionalProperties": "fields"}
_NEIGHBOUR = {"prefixItems": "items", "patternProperties": "additionalProperties"}  # what takes over if it is dropped


def _plain(document: Document, one: Alternative, group: tuple[str, ...]) -> dict[str, Any]:
    return {key: document.plain(*one[key], names=key in NAMED) for key in group if key in one}


def _far(found: list[Problem | _Gone]) -> tuple[bool, int]:
    """How far an alternative is from taking another: one of another type is not meant at all."""
    return any(isinstance(one, Problem) and one.what.startswith("changed its type") for one in found), len(found)


def _types(alternatives: list[Alternative]) -> frozenset[str]:
    return frozenset().union(*map(types, alternatives))


def _by_value(alternative: Alternative) -> list[Alternative]:
    """One alternative for each value of a closed list: each may be taken by another one."""
    listed = values(alternative)
    if listed is None:
        return [alternative]
    rest = {keyword: place for keyword, place in alternative.items() if keyword not in ("enum", "const")}
    pointer = alternative["const" if "const" in alternative else "enum"].pointer
    return [rest | {"const": Place(value, pointer)} for value in listed]


def _list(names: frozenset[str]) -> str:
    return " or ".join(sorted(names)) or "nothing"
