"""The schemas of events: types, their versions, what changed, who writes and who reads them. From the repository's
files and the topic registry alone, so every worker shows the same. What other teams registered, `streamapp registry`
tells."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamapp.schemas.example import example
from streamapp.schemas.released import Released, file_text, released, type_of
from streamapp.topics.registry import GROUPS, topic, writers
from streamapp.web import show
from streamapp.web.pages.asked import Registered
from streamapp.web.pages.page import Params, Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page


@dataclass(frozen=True, slots=True)
class Version:
    """A released version. `changed` is the difference to the one before, as lines; empty of the first."""

    number: int
    id: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """An event type."""

    event_type: str
    subject: str
    topic: str
    about: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    versions: tuple[Version, ...]


def foreign(registered: Sequence[Registered]) -> list[Registered]:
    """The newest version of each subject that is not the repository's, by subject."""
    own = {one.subject for one in released()}
    newest = {one.subject: one for one in sorted(registered, key=lambda one: one.version)}
    return sorted((one for one in newest.values() if one.subject not in own), key=lambda one: one.subject)


def kinds(versions: Sequence[Released]) -> list[Kind]:
    """Every event type that is released, by topic and name."""
    by_subject: dict[str, list[Released]] = {}
    for one in sorted(versions, key=lambda one: one.version):
        if type_of(one.subject):
            by_subject.setdefault(one.subject, []).append(one)
    return sorted((_kind(subject, each) for subject, each in by_subject.items()), key=lambda one: one.subject)


def _kind(subject: str, versions: Sequence[Released]) -> Kind:
    event_type = type_of(subject)
    name = subject.removesuffix(f"-{event_type}")
    before: list[Released | None] = [None, *versions[:-1]]
    return Kind(
        event_type,
        subject,
        name,
        str(versions[-1].schema.get("description", "")),
        writers(name),
        tuple(dict.fromkeys([*(each.name for each in GROUPS if name in each.topics), *topic(name).consumers])),
        tuple(
            Version(one.version, one.id, () if older is None else changes(older.schema, one.schema))
            for older, one in zip(before, versions, strict=True)
        ),
    )


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """The lines that differ, with those around them, as `diff -u` writes them."""
    found = difflib.unified_diff(file_text(old).splitlines(), file_text(new).splitlines(), lineterm="", n=2)
    return tuple(line for line in found if not line.startswith(("---", "+++")))


async def schemas(site: Site, params: Params) -> Page:
    """`/schemas`: every event type, and what other teams registered."""
    found, heard = kinds(released()), await site.extras.subjects.get()
    others = None if heard.value is None else foreign(heard.value)
    twin = {
        "schemas": [_twin(one) for one in found],
        "of_others": None if others is None else [msgspec.to_builtins(one) for one in others],
    }
    context = {"kinds": found, "others": others, "problem": heard.problem}
    return Page("schemas.html", "Schemas", context, twin, place="tables")


async def schema(site: Site, params: Params) -> Page:
    """`/schemas/{type}`: one event type."""
    name = params["type"]
    found = next((one for one in kinds(released()) if one.event_type == name), None)
    if found is None:
        raise Problem(404, f"No event type is called {show.visible(name)}", "See all event types: /schemas")
    newest = next(one for one in reversed(released()) if one.subject == found.subject)
    event = example(newest.schema)
    context = {
        "kind": found,
        "newest_first": tuple(reversed(found.versions)),
        "example": json.dumps(event, indent=2, ensure_ascii=False),
        "text": file_text(newest.schema),
    }
    twin = {**_twin(found), "schema": newest.schema, "example": event}
    return Page("schema.html", f"Schema {show.visible(name)}", context, twin, place="tables")


def _twin(one: Kind) -> dict[str, Any]:
    return {
        "type": one.event_type,
        "subject": one.subject,
        "topic": one.topic,
        "written_by": list(one.writers),
        "read_by": list(one.readers),
        "versions": [{"version": each.number, "id": each.id, "changed": list(each.changed)} for each in one.versions],
    }
