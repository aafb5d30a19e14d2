"""One partition's archive: objects, each with its entry, and the manifest of each day.

The order of a batch, and what a failure costs at each step. All of it is done again from the first step on, with the
same bytes, by whoever finds the promise (`sinks.task`):

    1  the object, if there is none of its name      nothing: nobody is told of it
    2  its entry, which ties it to the one before    the object has no entry yet; `archive verify` calls it unfinished
    3  the day's manifest                            the manifest is behind; it is made from the entries again

Objects and entries are written once and never changed, so a store may lock them. The manifest of a day is written anew
as it grows, by a thirty-second at least, and when the next day begins: what it says is what its entries say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import zstandard

from streamapp.errors import Misconfigured
from streamapp.schemas.values.timestamp import format_ms, parse_ms
from streamapp.sinks.archive.chain import (
    ENTRY,
    GENESIS,
    MANIFEST,
    OBJECT,
    Entry,
    Link,
    entry_name,
    folder_of,
    named,
    object_name,
    pack_entry,
    pack_manifest,
    partition_folder,
    tie,
    unpack_entry,
    unpack_manifest,
)
from streamapp.sinks.archive.store import ADVICE, ArchiveStore

GROWTH = 32  # a manifest is written again when a thirty-second of it is new
END_MS = 253_402_300_799_999


class Object(NamedTuple):
    """A batch as it is stored."""

    data: bytes
    entry: Entry


class Archive:
    """Keeps the objects of one partition. Of no use after its owner: what it remembers of a day is its own writing."""

    def __init__(self, store: ArchiveStore, topic: str, partition: int) -> None:
        self._store = store
        self._folder = partition_folder(topic, partition)
        self._topic, self._partition = topic, partition
        self._day: _Day | None = None

    async def keep(self, made: Object) -> None:
        """Write an object; whatever of it is there already is left alone.

        Raises `Misconfigured` where another chain has begun, or where an object of its name has other bytes.
        """
        if bytes.fromhex(made.entry.previous) == GENESIS:
            await self._refuse_strangers(made.entry.name)
        await self._store.create(made.entry.name, made.data)
        await self._store.create(entry_name(made.entry.name), pack_entry(made.entry))
        await self._note(made.entry)

    async def holds(self, first: int, last: int, link: Link) -> bool:
        """Whether the object is there that this end of the chain was made with; what is missing beside it is made."""
        name = object_name(self._topic, self._partition, first, last, link.day)
        data = await self._store.get(name)
        if data is None:
            return False
        entry = entry_from(name, data, link.previous)
        if entry is None or bytes.fromhex(entry.chain) != link.chain:
            return False
        await self.keep(Object(data, entry))
        return True

    async def _refuse_strangers(self, name: str) -> None:
        async for other, _ in self._store.names(self._folder):
            if other.endswith(OBJECT) and other != name:
                raise Misconfigured(
                    f"{self._store.url}/{self._folder} has objects, and this group has archived nothing of partition "
                    f"{self._partition} yet: records would be there twice; {ADVICE}"
                )

    # -- the manifest --------------------------------------------------------------------------------------------

    async def _note(self, entry: Entry) -> None:
        folder = folder_of(entry.name)
        day = self._day
        if day is None or day.folder != folder:
            await self._leave(day, folder)
            day = self._day = await load_day(self._store, folder)
        day.add(entry)
        if day.is_due:
            await day.write(self._store)

    async def _leave(self, day: _Day | None, folder: str) -> None:
        """A day is over, unless records with older timestamps come: its manifest has all of it now."""
        if day is None:  # somebody else wrote it, and may have ended there
            dates = {folder_of(name) async for name, _ in self._store.names(self._folder)}
            older = max((other for other in dates if other < folder), default=None)
            day = None if older is None else await load_day(self._store, older)
        if day is not None and day.is_behind:
            await day.write(self._store)


class _Day:
    """The entries of a day's folder in the order of offsets, and how many of them the manifest there has."""

    def __init__(self, folder: str, entries: list[Entry], written: int) -> None:
        self.folder = folder
        self._entries = entries
        self._names = {entry.name for entry in entries}
        self._written = written

    @property
    def is_behind(self) -> bool:
        return len(self._entries) > self._written

    @property
    def is_due(self) -> bool:
        return (len(self._entries) - self._written) * GROWTH > len(self._entries)

    def add(self, entry: Entry) -> None:
        if entry.name not in self._names:
            self._names.add(entry.name)
            self._entries.append(entry)

    async def write(self, store: ArchiveStore) -> None:
        await store.replace(self.folder + MANIFEST, pack_manifest(self._entries))
        self._written = len(self._entries)


async def load_day(store: ArchiveStore, folder: str) -> _Day:
    """A day as it stands. A manifest that cannot be read, or says something else than the entries, is none."""
    manifest = await store.get(folder + MANIFEST)
    names = sorted([name async for name, _ in store.names(folder) if named(name.removesuffix(ENTRY) + OBJECT)])
    known: dict[str, Entry] = {}
    if manifest is not None:
        try:
            known = {entry.name: entry for entry in unpack_manifest(manifest).entries}
        except msgspec.MsgspecError:
            known = {}
    entries = []
    for name in names:
        entry = known.get(name.removesuffix(ENTRY) + OBJECT)
        if entry is None:
            data = await store.get(name)
            assert data is not None, name
            entry = unpack_entry(data)
        entries.append(entry)
    is_prefix = [*known.values()] == entries[: len(known)]
    return _Day(folder, entries, len(known) if is_prefix else 0)


# -- objects -------------------------------------------------------------------------------------------------------


def compress(lines: Iterable[bytes], level: int) -> bytes:
    """The bytes of an object: the same for the same lines, level and release of zstd."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(b"".join(lines))


def lines_of(data: bytes) -> list[bytes]:
    """The lines of an object, without their breaks. Raises ValueError for bytes that are no object."""
    try:
        text = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"cannot be decompressed: {error}") from None
    if text and not text.endswith(b"\n"):
        raise ValueError("ends within a line")
    return text.split(b"\n")[:-1]


def make_entry(name: str, data: bytes, previous: bytes, count: int, from_ms: int, to_ms: int) -> Entry:
    """The entry of an object. `from_ms` and `to_ms` are the earliest and the latest time of its events."""
    at = named(name)
    assert at is not None, name
    digest = hashlib.sha256(data).digest()
    chain = tie(previous, name, digest, count)
    times = format_ms(from_ms), format_ms(min(to_ms, END_MS))
    return Entry(name, at.first, at.last, count, len(data), digest.hex(), previous.hex(), chain.hex(), *times)


def entry_from(name: str, data: bytes, previous: bytes) -> Entry | None:
    """The same, from the object alone; None for one whose lines cannot be read."""
    try:
        times = [event_ms(json.loads(line)) for line in lines_of(data)]
    except (ValueError, KeyError, TypeError):
        return None
    return make_entry(name, data, previous, len(times), min(times), max(times)) if times else None


def event_ms(line: Any) -> int:
    """The time of the event in a line. Raises KeyError, TypeError or ValueError for what is no line."""
    at_ms = parse_ms(line["event"]["timestamp"])
    if at_ms is None:
        raise ValueError("the event has no timestamp")
    return at_ms
