"""Reading the archive back: which objects there are, what they hold, what falls into a time or belongs to an org."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from streamapp.errors import Misconfigured
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.sinks.archive.chain import (
    ENTRY,
    MANIFEST,
    OBJECT,
    Entry,
    Generation,
    at_place,
    entry_name,
    generations_name,
    named,
    offsets_of,
    unpack_entry,
    unpack_generations,
)
from streamapp.sinks.archive.objects import event_ms, lines_of
from streamapp.sinks.archive.store import ArchiveStore

Step = Callable[[int, int], None]
"""Told how many of how many objects are done."""


@dataclass
class Shelf:
    """One partition's part of the archive: what is there, by name."""

    topic: str
    partition: int
    objects: dict[str, int] = field(default_factory=dict)  # name → size
    entries: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)

    def in_order(self) -> list[str]:
        """The objects by their first offset."""
        return in_order(self.objects)


@dataclass(frozen=True)
class Wanted:
    """Which records somebody asks for. None: any. `until_ms` is not included."""

    partition: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    org: str | None = None
    type: str | None = None  # or the beginning of one: `iam.auth`

    def may_be_in(self, entry: Entry | None) -> bool:
        """Whether an object can have any of them; one without an entry can."""
        if entry is None:
            return True
        first, last = parse_ms(entry.events_from) or 0, parse_ms(entry.events_to) or 0
        return (self.until_ms is None or first < self.until_ms) and (self.since_ms is None or last >= self.since_ms)

    def takes(self, line: dict[str, Any]) -> bool:
        """Whether a line is one of them. An event that names no org is that of its key."""
        event = line["event"]
        at_ms = event_ms(line)
        if (self.since_ms is not None and at_ms < self.since_ms) or (
            self.until_ms is not None and at_ms >= self.until_ms
        ):
            return False
        if self.org is not None and (event.get("org_id") or line.get("key")) != self.org:
            return False
        return self.type is None or event["type"] == self.type or event["type"].startswith(f"{self.type}.")


class Listed(NamedTuple):
    """An object and what is known of it; without an entry it is unfinished."""

    name: str
    size: int
    entry: Entry | None


async def shelves(store: ArchiveStore, topic: str) -> tuple[list[Shelf], list[str]]:
    """Every partition's part, in their order, and the names of files that are none of ours."""
    found: dict[int, Shelf] = {}
    strays: list[str] = []
    async for name, size in store.names(f"{topic}/"):
        of = name.removesuffix(ENTRY) + OBJECT if name.endswith(ENTRY) else name
        day = name.removesuffix(MANIFEST)
        at = named(f"{day}{0:020d}-{0:020d}{OBJECT}") if name.endswith(f"/{MANIFEST}") else named(of)
        if at is None:
            strays.append(name)
            continue
        shelf = found.setdefault(at.partition, Shelf(topic, at.partition))
        if name.endswith(OBJECT):
            shelf.objects[name] = size
        else:
            (shelf.manifests if name.endswith(f"/{MANIFEST}") else shelf.entries).add(name)
    return [found[number] for number in sorted(found)], sorted(strays)


async def generations(store: ArchiveStore, topic: str) -> tuple[Generation, ...]:
    """What was read again, oldest first. Raises `Misconfigured` for a list that cannot be read."""
    name = generations_name(topic)
    data = await store.get(name)
    try:
        return () if data is None else unpack_generations(data).generations
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"{store.url}/{name} cannot be read: {error}; put its bytes back from a backup") from None


async def current(store: ArchiveStore, topic: str) -> list[Shelf]:
    """Every partition's part as it counts: of each place the object of the latest generation."""
    parts, _ = await shelves(store, topic)
    shelf_of = {shelf.partition: shelf for shelf in parts}
    held = {name: name for shelf in parts for name in shelf.objects}  # the first generation's name → what counts
    for generation in await generations(store, topic):
        for again in (await shelves(store, generation.trail))[0]:
            shelf = shelf_of.setdefault(again.partition, Shelf(topic, again.partition))
            shelf.entries |= again.entries
            for name, size in again.objects.items():
                first = at_place(topic, name)
                shelf.objects.pop(held.get(first, first), None)
                shelf.objects[name] = size
                held[first] = name
    return [shelf_of[number] for number in sorted(shelf_of)]


async def listed(store: ArchiveStore, topic: str, wanted: Wanted, step: Step = lambda done, of: None) -> list[Listed]:
    """The objects that can have what is wanted, partition by partition in order."""
    parts = await current(store, topic)
    names = [
        (name, shelf) for shelf in parts if wanted.partition in (None, shelf.partition) for name in shelf.in_order()
    ]
    rows = []
    for number, (name, shelf) in enumerate(names, 1):
        entry = await read_entry(store, name) if entry_name(name) in shelf.entries else None
        if wanted.may_be_in(entry):
            rows.append(Listed(name, shelf.objects[name], entry))
        step(number, len(names))
    return rows


async def read_entry(store: ArchiveStore, name: str) -> Entry | None:
    """The entry of an object; None where there is none that can be read."""
    data = await store.get(entry_name(name))
    try:
        return None if data is None else unpack_entry(data)
    except msgspec.MsgspecError:
        return None


async def matching(
    store: ArchiveStore, rows: Iterable[Listed], wanted: Wanted, step: Step = lambda done, of: None
) -> AsyncIterator[bytes]:
    """The lines that are wanted, as they are stored, without their breaks. Raises ValueError for a damaged object."""
    rows = list(rows)
    for number, row in enumerate(rows, 1):
        data = await store.get(row.name)
        if data is not None:
            for line in _lines(row.name, data):
                if wanted.takes(json.loads(line)):
                    yield line
        step(number, len(rows))


def _lines(name: str, data: bytes) -> Iterator[bytes]:
    try:
        yield from lines_of(data)
    except ValueError as error:
        raise ValueError(f"{name} {error}; `streamapp archive verify` tells more") from None


def in_order(names: Iterable[str]) -> list[str]:
    """Names of one partition's objects by offset: days may go back and forth, as the clocks of producers do."""
    return sorted(names, key=offsets_of)
