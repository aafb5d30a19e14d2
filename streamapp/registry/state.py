"""What is registered: the repository's released versions, and what the records of `_schemas` add to them. Pure.

The repository's subjects and ids are as the repository says, whatever a record says of them: so reading works without
Kafka, and an id means the same with and without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from streamapp.registry.records import (
    Change,
    Gone,
    Highest,
    Level,
    Mode,
    SubjectDeleted,
    Version,
    guid,
)
from streamapp.schemas.released import ID_MAX, Released, released

BACKWARD = "BACKWARD"
READWRITE = "READWRITE"
OVERRIDE = "READONLY_OVERRIDE"


def text_of(one: Released) -> str:
    """A released schema as it is served."""
    return json.dumps(one.schema, ensure_ascii=False, separators=(",", ":"))


def canonical(schema: str) -> str:
    """What two texts of one schema have in common. Raises ValueError for what is not JSON."""
    return json.dumps(json.loads(schema), sort_keys=True, separators=(",", ":"))


@dataclass(slots=True)
class State:
    """Everything that is asked for. `apply` takes records in their order; a record twice changes nothing."""

    own: frozenset[str] = frozenset()  # the repository's subjects
    versions: dict[str, dict[int, Version]] = field(default_factory=dict)
    schemas: dict[int, str] = field(default_factory=dict)  # by id, also of versions that are softly deleted
    levels: dict[str | None, str] = field(default_factory=dict)
    modes: dict[str | None, str] = field(default_factory=dict)
    highest: int = ID_MAX
    mirrored: set[tuple[str, int]] = field(default_factory=set)  # the repository's versions that the topic has, too
    _ids: dict[str, set[int]] = field(default_factory=dict)  # by canonical text
    _guids: dict[str, str] = field(default_factory=dict)

    def apply(self, change: Change | None) -> None:
        """A record was read, or written."""
        match change:
            case Version(subject, version) if subject in self.own:
                self.mirrored.add((subject, version))
            case Version() if change.id > ID_MAX or self._repositorys(change):
                self._add(change)
            case Gone(subject, version) if subject not in self.own:
                self._forget(subject, version)
            case SubjectDeleted(subject, version) if subject not in self.own:
                for number, one in self.versions.get(subject, {}).items():
                    if number <= version:
                        self.versions[subject][number] = one._replace(deleted=True)
            case Level(subject, level):
                _set(self.levels, subject, level)
            case Mode(subject, mode):
                _set(self.modes, subject, mode)
            case Highest(number):
                self.highest = max(self.highest, number)

    def _repositorys(self, one: Version) -> bool:
        """Whether the repository has this schema under this id: ids up to `ID_MAX` mean nothing else (ADR 0055)."""
        with suppress(ValueError):
            return one.id in self._ids.get(canonical(one.schema), ())
        return False

    def _add(self, one: Version) -> None:
        self.versions.setdefault(one.subject, {})[one.version] = one
        self.schemas[one.id] = one.schema
        self.highest = max(self.highest, one.id)
        self._guids[guid(one.schema)] = one.schema
        with suppress(ValueError):  # another registry's: found by its id
            self._ids.setdefault(canonical(one.schema), set()).add(one.id)

    def _forget(self, subject: str, version: int) -> None:
        gone = self.versions.get(subject, {}).pop(version, None)
        if not self.versions.get(subject):
            self.versions.pop(subject, None)
        if gone is None or any(one.id == gone.id for each in self.versions.values() for one in each.values()):
            return
        self.schemas.pop(gone.id, None)
        self._guids.pop(guid(gone.schema), None)
        for numbers in self._ids.values():
            numbers.discard(gone.id)

    def subjects(self, *, deleted: bool = False) -> list[str]:
        """The subjects that have a version, sorted."""
        return sorted(name for name in self.versions if self.of(name, deleted=deleted))

    def of(self, subject: str, *, deleted: bool = False) -> list[Version]:
        """A subject's versions, the oldest first."""
        found = self.versions.get(subject, {})
        return [found[number] for number in sorted(found) if deleted or not found[number].deleted]

    def all(self, *, deleted: bool = False) -> Iterator[Version]:
        """Every version, sorted by subject."""
        for name in self.subjects(deleted=deleted):
            yield from self.of(name, deleted=deleted)

    def find(self, subject: str, schema: str, *, deleted: bool = False) -> Version | None:
        """The newest version of a subject with this schema. Raises ValueError for what is not JSON."""
        numbers = self._ids.get(canonical(schema), set())
        return next((one for one in reversed(self.of(subject, deleted=deleted)) if one.id in numbers), None)

    def id_of(self, schema: str) -> int | None:
        """The id that this schema has, under whichever subject."""
        return min(self._ids.get(canonical(schema), ()), default=None)

    def with_guid(self, wanted: str) -> str | None:
        """The schema that has this GUID."""
        return self._guids.get(wanted.lower())

    def with_id(self, number: int) -> list[Version]:
        """The versions with this id, those that are deleted, too."""
        return [one for one in self.all(deleted=True) if one.id == number]

    def next_version(self, subject: str) -> int:
        """The number behind the highest one, softly deleted versions counted."""
        return max(self.versions.get(subject, {}), default=0) + 1

    def unmirrored(self) -> list[Version]:
        """The repository's versions that the topic lacks: with them, another registry can go on from it."""
        ours = (one for name in sorted(self.own) for one in self.of(name))
        return [one for one in ours if (one.subject, one.version) not in self.mirrored]

    def level(self, subject: str) -> str:
        """The compatibility in force."""
        return self.levels.get(subject, self.levels.get(None, BACKWARD)) if subject not in self.own else BACKWARD

    def mode(self, subject: str) -> str:
        """The mode in force; everybody's goes before a subject's own when it is an override."""
        if self.modes.get(None) == OVERRIDE:
            return OVERRIDE
        return self.modes.get(subject, self.modes.get(None, READWRITE))


def beginning(versions: Iterable[Released] | None = None) -> State:
    """The repository's versions alone."""
    known = released() if versions is None else tuple(versions)
    state = State()
    for one in known:
        state._add(Version(one.subject, one.version, one.id, text_of(one)))
    state.own, state.highest = frozenset(one.subject for one in known), ID_MAX
    return state


def _set(where: dict[str | None, str], subject: str | None, value: str | None) -> None:
    if value is None:
        where.pop(subject, None)
    else:
        where[subject] = value
