"""The archive's objects: what is in them, their entries, and a day's manifest, which says what its entries say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import zstandard

from streamapp.schemas.values.timestamp import format_ms, parse_ms
from streamapp.sinks.archive.chain import (
    ENTRY,
    MANIFEST,
    OBJECT,
    Entry,
    named,
    pack_manifest,
    tie,
    unpack_entry,
    unpack_manifest,
)
from streamapp.sinks.archive.store import ArchiveStore

GROWTH = 32  # a manifest is written again when a thirty-second of it is new
END_MS = 253_402_300_799_999


class Object(NamedTuple):
    """A batch as it is stored."""

    data: bytes
    entry: Entry


class Day:
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


async def load_day(store: ArchiveStore, folder: str) -> Day:
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
    return Day(folder, entries, len(known) if is_prefix else 0)


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
