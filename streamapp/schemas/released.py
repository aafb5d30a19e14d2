"""The released schemas: one file per event type and version in this repository (decision 31).

`versions/<subject>/<version>.json` never changes once it is released, and `versions/ids.txt` gives each its id, one
line each. A subject is `<topic>-<event type>`; `<topic>-value` is an alias for whoever asks by topic: any event of the
topic's types. The alias of one type shares that type's id, and its file. `streamapp schemas release` adds the next
version of what has changed in the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from streamapp.errors import Misconfigured
from streamapp.schemas.catalog import CATALOG, DIALECT, json_schema

FOLDER = Path(__file__).parent / "versions"
IDS = "ids.txt"
ID_MAX = 9_999
"""Ids up to here are the repository's; what is registered over HTTP has ids above."""

ALIAS = "-value"


class Released(NamedTuple):
    """One version of a subject. `schema` is the document of its file, and is not to be changed."""

    subject: str
    version: int
    id: int
    schema: Mapping[str, Any]


def subject_of(event_type: str) -> str:
    """`llm.usage.completed` → `llm_usage-llm.usage.completed`. Raises KeyError for an unknown type."""
    topics = {entry.event_type: entry.topic for entry in CATALOG}
    return f"{topics[event_type]}-{event_type}"


def type_of(subject: str) -> str:
    """The event type of a subject; empty for an alias and for what is not the repository's."""
    return next((entry.event_type for entry in CATALOG if subject == f"{entry.topic}-{entry.event_type}"), "")


def aliased(topic: str) -> str:
    """The subject of all types of a topic."""
    return topic + ALIAS


@cache
def released() -> tuple[Released, ...]:
    """Every released version."""
    return tuple(read(FOLDER))


def newest(event_type: str) -> Released:
    """The newest released version of an event type. Raises KeyError for an unknown type, `Misconfigured` for one that
    was never released."""
    subject = subject_of(event_type)
    found = [one for one in released() if one.subject == subject]
    if not found:
        raise Misconfigured(f"{event_type} has no released version; write one with: streamapp schemas release")
    return max(found, key=lambda one: one.version)


def read(folder: Path) -> list[Released]:
    """The versions in a folder, in the order of `ids.txt`. One without a file has the document that its id names."""
    lines = (folder / IDS).read_text(encoding="utf-8").splitlines() if (folder / IDS).is_file() else []
    found: list[Released] = []
    for line in lines:
        number, subject, version = line.split()
        path = folder / subject / f"{version}.json"
        same = next((one.schema for one in found if one.id == int(number)), None)
        document = json.loads(path.read_text(encoding="utf-8")) if same is None or path.is_file() else same
        found.append(Released(subject, int(version), int(number), document))
    return found


def unreleased(known: Iterable[Released]) -> dict[str, dict[str, Any]]:
    """Subject → schema as the models have it now, of every subject whose newest version is another one."""
    newest_of = {one.subject: one.schema for one in sorted(known, key=lambda one: one.version)}
    return {subject: schema for subject, schema in _wanted().items() if newest_of.get(subject) != schema}


def write(folder: Path, schemas: Mapping[str, Mapping[str, Any]]) -> list[Released]:
    """Make the next version of each subject; these versions. An id belongs to a document: one that is there, as that of
    an alias of one type, gets no file and no id of its own."""
    known = read(folder)
    before = len(known)
    for subject, schema in schemas.items():
        version = max((one.version for one in known if one.subject == subject), default=0) + 1
        same = next((one.id for one in known if one.schema == schema), None)
        number = max((one.id for one in known), default=0) + 1 if same is None else same
        known.append(Released(subject, version, number, schema))
        if same is None:
            path = folder / subject / f"{version}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file_text(schema), encoding="utf-8")
        with (folder / IDS).open("a", encoding="utf-8") as ids:
            ids.write(f"{number} {subject} {version}\n")
    return known[before:]


def file_text(schema: Mapping[str, Any]) -> str:
    """The bytes of a file: stable, so that a change shows as a difference of a few lines."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def of_topic(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Event type → schema, as one schema that takes an event of any of them."""
    if len(schemas) == 1:
        return dict(next(iter(schemas.values())))
    definitions: dict[str, Any] = {}
    for name, schema in schemas.items():
        own = {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
        definitions[name] = _moved(own, name)
        definitions |= {f"{name}:{key}": _moved(value, name) for key, value in schema.get("$defs", {}).items()}
    return {"$schema": DIALECT, "oneOf": [{"$ref": f"#/$defs/{name}"} for name in schemas], "$defs": definitions}


def _moved(value: Any, name: str) -> Any:
    """The same with references to where the definitions of a type stand now."""
    if isinstance(value, list):
        return [_moved(one, name) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"#/$defs/{name}:{one.removeprefix('#/$defs/')}" if key == "$ref" else _moved(one, name)
        for key, one in value.items()
    }


def _wanted() -> dict[str, dict[str, Any]]:
    """Subject → schema as the models have it, every type before the alias of its topic."""
    by_topic: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in CATALOG:
        by_topic.setdefault(entry.topic, {})[entry.event_type] = json_schema(entry.event_type)
    wanted = {f"{topic}-{name}": schema for topic, each in by_topic.items() for name, schema in each.items()}
    return wanted | {aliased(topic): of_topic(each) for topic, each in by_topic.items()}
