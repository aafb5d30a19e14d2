"""Whether the archive is whole, by itself: every object is as its entry says, each is tied to the one before, and no
offset is there twice. From the bytes on, the code is the check's own. Archive and log are compared in `audit_archive`.

An edited byte changes the object's digest. A digest that is edited, too, breaks the chain after it. A chain that is
edited up to its end does not end as the group's changelog says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamapp.sinks.archive.chain import (
    ENTRY,
    GENESIS,
    OBJECT,
    Entry,
    Manifest,
    entry_name,
    folder_of,
    pack_manifest,
    unpack_manifest,
)
from streamapp.sinks.archive.objects import lines_of
from streamapp.sinks.archive.read import Shelf, Step, generations, in_order, read_entry, shelves
from streamapp.sinks.archive.store import ArchiveStore
from streamapp.verify.report import Findings, faults_json


@dataclass
class Tail:
    """Where a partition's chain ends. `unfinished` is an object behind it that has no entry yet."""

    partition: int
    last_offset: int
    chain: str
    unfinished: str | None = None


@dataclass
class ArchiveReport:
    """What was found. The faults: `missing`, `edited`, `doubled`; what is behind is made good by the next owner."""

    url: str
    objects: int = 0
    records: int = 0
    bytes: int = 0
    missing: Findings = field(default_factory=Findings)
    edited: Findings = field(default_factory=Findings)
    doubled: Findings = field(default_factory=Findings)
    behind: list[str] = field(default_factory=list)  # unfinished objects, manifests that lack the newest entries
    strays: list[str] = field(default_factory=list)  # files that do not belong to the archive
    tails: dict[int, Tail] = field(default_factory=dict)
    chains: dict[int, set[str]] = field(default_factory=dict)  # partition → the chain behind each object
    generations: dict[str, ArchiveReport] = field(default_factory=dict)  # what was read again, by its folder

    def expect(self, partition: int, last_offset: int, chain: str) -> None:
        """The group's changelog says that a partition's chain was once here. Objects may have come since."""
        if chain not in self.chains.get(partition, ()):
            self.missing.add(
                f"partition {partition}, up to offset {last_offset}", f"the group has written the chain to {chain}"
            )

    @property
    def ok(self) -> bool:
        return not any(found.count for _, found in self.faults())

    def faults(self) -> tuple[tuple[str, Findings], ...]:
        return ("missing", self.missing), ("edited", self.edited), ("doubled", self.doubled)

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "ok": self.ok,
            "objects": self.objects,
            "records": self.records,
            "bytes": self.bytes,
            **faults_json(self.faults()),
            "behind": self.behind,
            "strays": self.strays,
            "tails": {str(number): vars(tail) for number, tail in self.tails.items()},
            "generations": {
                trail: {"objects": one.objects, "records": one.records, "bytes": one.bytes, "behind": one.behind}
                for trail, one in self.generations.items()
            },
        }


async def verify_archive(
    store: ArchiveStore, topic: str, step: Step = lambda done, of: None, partition: int | None = None
) -> ArchiveReport:
    """Read everything of a topic and check it: the first generation, then each that the list of them names."""
    report = ArchiveReport(store.url)
    await _verify(store, topic, step, partition, report)
    for generation in await generations(store, topic):
        again = ArchiveReport(store.url, missing=report.missing, edited=report.edited, doubled=report.doubled)
        await _verify(store, generation.trail, step, partition, again)
        for part in generation.parts:
            if partition in (None, part.partition):
                again.expect(part.partition, part.last_offset, part.chain)
        report.generations[generation.trail] = again
    return report


async def _verify(store: ArchiveStore, trail: str, step: Step, partition: int | None, report: ArchiveReport) -> None:
    """A generation by itself."""
    parts, report.strays = await shelves(store, trail)
    parts = [shelf for shelf in parts if partition in (None, shelf.partition)]
    checks = [_Check(store, shelf, report) for shelf in parts]
    done, total = 0, sum(len(check.names) for check in checks)
    for check in checks:
        for name in check.names:
            await check.object(name)
            done += 1
            step(done, total)
        await check.manifests()
        report.tails[check.tail.partition] = check.tail
        report.chains[check.tail.partition] = check.chains


class _Check:
    """One partition, object by object in the order of offsets."""

    def __init__(self, store: ArchiveStore, shelf: Shelf, report: ArchiveReport) -> None:
        self._store, self._shelf, self._report = store, shelf, report
        self.tail = Tail(shelf.partition, -1, GENESIS.hex())
        self.chains: set[str] = set()
        self._last_offset = -1  # of the lines
        self._entries: dict[str, list[Entry]] = {}  # by day
        told_of = {name.removesuffix(ENTRY) + OBJECT for name in shelf.entries}
        self._names = in_order({*shelf.objects, *told_of})

    @property
    def names(self) -> list[str]:
        """Every object that is there, or was: its entry still tells of it."""
        return self._names

    async def object(self, name: str) -> None:
        report = self._report
        data = await self._store.get(name)
        entry = await read_entry(self._store, name)
        lines = [] if data is None else self._lines(name, data)
        if data is None:
            told = "" if entry is None else f", with {entry.count} records"
            report.missing.add(name, f"the object is gone{told}; its entry is there")
        else:
            report.objects += 1
            report.records += len(lines)
            report.bytes += len(data)
            self._offsets(name, lines)
        if entry is not None:
            if data is not None:
                self._against(name, data, lines, entry)
            self._chain(name, entry)
        elif entry_name(name) in self._shelf.entries:
            report.edited.add(entry_name(name), "cannot be read")
        elif name == self._names[-1]:
            self.tail.unfinished = name
            report.behind.append(f"{name} has no entry yet: its batch was cut off, the next owner ends it")
        else:
            report.missing.add(name, "its entry is missing")

    async def manifests(self) -> None:
        """A manifest says what the entries beside it say, or less, when it is behind. It is read after them: it may
        tell of objects that are newer than the listing."""
        for folder, entries in self._entries.items():
            data = await self._store.get(folder + "manifest.json")
            if data is None:
                self._report.behind.append(
                    f"{folder} has no manifest yet: it is written a while after the first object"
                )
                continue
            manifest = _read(data)
            told = () if manifest is None else manifest.entries
            entries += await self._newer(folder, told[len(entries) :])
            if not told or tuple(entries[: len(told)]) != told or pack_manifest(told) != data:
                self._report.edited.add(f"{folder}manifest.json", "says something else than the entries beside it")
            elif len(told) < len(entries):
                newest = len(entries) - len(told)
                self._report.behind.append(
                    f"{folder}manifest.json is written now and then: it lacks the newest {newest}"
                )

    async def _newer(self, folder: str, told: Sequence[Entry]) -> list[Entry]:
        """The entries of a folder, of those that a manifest tells, whose objects are newer than the listing."""
        names = dict.fromkeys(one.name for one in told if one.name not in self._names)
        found = [await read_entry(self._store, name) for name in names if folder_of(name) == folder]
        return [entry for entry in found if entry is not None]

    def _against(self, name: str, data: bytes, lines: list[Any], entry: Entry) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256 or len(data) != entry.bytes:
            self._report.edited.add(name, f"has SHA-256 {digest}, its entry says {entry.sha256}")
        elif len(lines) != entry.count:
            self._report.edited.add(name, f"has {len(lines)} records, its entry says {entry.count}")

    def _chain(self, name: str, entry: Entry) -> None:
        if entry.name != name:
            self._report.edited.add(entry_name(name), f"is the entry of {entry.name}")
        told = bytes.fromhex(entry.sha256)
        tied = hashlib.sha256(bytes.fromhex(entry.previous) + told + entry.count.to_bytes(8) + name.encode())
        if tied.hexdigest() != entry.chain:
            self._report.edited.add(entry_name(name), "its chain is not that of what it says")
        if entry.previous != self.tail.chain:
            what = "an object before it is missing" if self.chains else "the first object is missing"
            self._report.missing.add(name, f"{what}, or another was put in: it is tied to {entry.previous}")
        self.tail = Tail(self._shelf.partition, entry.last_offset, entry.chain)
        self.chains.add(entry.chain)
        self._entries.setdefault(folder_of(name), []).append(entry)

    def _lines(self, name: str, data: bytes) -> list[Any]:
        try:
            return [json.loads(line) for line in lines_of(data)]
        except ValueError as error:
            self._report.edited.add(name, str(error))
            return []

    def _offsets(self, name: str, lines: list[Any]) -> None:
        first, last = (int(part) for part in name.rpartition("/")[2].removesuffix(OBJECT).split("-"))
        for line in lines:
            try:
                at, offset = line["partition"], line["offset"]
                fits = at == self._shelf.partition and first <= offset <= last
            except (KeyError, TypeError):
                self._report.edited.add(name, "has a line that is no record")
                continue
            if not fits:
                self._report.edited.add(name, f"has a record of partition {at}, offset {offset}")
            elif offset <= self._last_offset:
                self._report.doubled.add(name, f"offset {offset} is there again, or out of order")
            self._last_offset = max(self._last_offset, offset)


def _read(data: bytes) -> Manifest | None:
    try:
        return unpack_manifest(data)
    except msgspec.MsgspecError:
        return None
