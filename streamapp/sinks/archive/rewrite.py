"""Objects of the archive made again: a generation beside what is there, which nothing changes.

    1  objects that differ from today's reading are written in a folder of their own   nobody reads them
    2  the list of generations names the folder                                        readers take them from here on

An object stands for the one of the same place; where nothing differs there is none. A run that is killed is started
again: the same records make the same bytes, so it finds its objects written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from streamapp.errors import Misconfigured
from streamapp.exact.partition.place import Place
from streamapp.schemas.values.timestamp import format_ms
from streamapp.sinks.archive.chain import (
    GENESIS,
    Entry,
    Generation,
    Generations,
    Part,
    at_place,
    entry_name,
    folder_of,
    generations_name,
    offsets_of,
    pack_entry,
    pack_generations,
    trail_of,
)
from streamapp.sinks.archive.objects import compress, entry_from, lines_of, load_day
from streamapp.sinks.archive.read import Shelf, current, generations, shelves
from streamapp.sinks.archive.store import ArchiveStore
from streamapp.sinks.rewriter import Difference, Reading


class ArchiveRewriter:
    """`Rewriter` of the archive of a topic."""

    def __init__(self, store: ArchiveStore, topic: str, zstd_level: int) -> None:
        self._store, self._topic, self._level = store, topic, zstd_level
        self._known: tuple[Generation, ...] = ()
        self._shelves: dict[int, Shelf] = {}
        self._trail, self._made_at = "", ""
        self._written: dict[int, list[Entry]] = {}

    async def begin(self, now_ms: int) -> None:
        self._known = await generations(self._store, self._topic)
        self._shelves = {shelf.partition: shelf for shelf in await current(self._store, self._topic)}
        self._trail, self._made_at = trail_of(self._topic, len(self._known) + 2), format_ms(now_ms)

    async def batches(self, place: Place, first: int, end: int) -> Sequence[tuple[int, int]]:
        """Objects are replaced whole; one that begins before the range, or ends behind it, stays."""
        shelf = self._shelves.get(place.partition)
        places = [] if shelf is None else [offsets_of(name) for name in shelf.in_order()]
        return [(begins, ends) for begins, ends in places if first <= begins and ends < end]

    async def compared(self, reading: Reading) -> Difference:
        data = await self._store.get(self._name(reading))
        if data is None:
            raise Misconfigured(f"{self._name(reading)} is gone; `streamapp archive verify` tells more")
        kept = _by_offset(line + b"\n" for line in lines_of(data))
        today = _by_offset(line.text for line in reading.rows)
        wanted = {offset: line for offset, line in today.items() if offset not in reading.refused}
        changed = sum(offset in kept and kept[offset] != line for offset, line in wanted.items())
        missing = len(wanted.keys() - kept.keys())
        lines = kept | wanted
        content = [lines[offset] for offset in sorted(lines)] if changed or missing else []
        return Difference(same=len(wanted) - changed - missing, changed=changed, missing=missing, content=content)

    async def write(self, reading: Reading, difference: Difference) -> None:
        """Raises `Misconfigured` where another release has begun this generation."""
        if not difference.content:
            return
        written = self._written.setdefault(reading.place.partition, [])
        previous = bytes.fromhex(written[-1].chain) if written else GENESIS
        name, data = at_place(self._trail, self._name(reading)), compress(difference.content, self._level)
        entry = entry_from(name, data, previous)
        assert entry is not None, "its lines were read"
        await self._store.create(name, data)
        await self._store.create(entry_name(name), pack_entry(entry))
        written.append(entry)

    async def finish(self) -> int:
        """Nothing is removed."""
        if not self._written:
            return 0
        own = {entry.name for entries in self._written.values() for entry in entries}
        found, _ = await shelves(self._store, self._trail)
        if {name for shelf in found for name in shelf.objects} != own:
            raise Misconfigured(
                f"{self._store.url}/{self._trail}/ has objects of another rewrite, which was not ended: "
                f"remove the folder, no list names it; then run this again"
            )
        for folder in sorted({folder_of(name) for name in own}):
            day = await load_day(self._store, folder)
            if day.is_behind:
                await day.write(self._store)
        parts = tuple(_part(number, entries) for number, entries in sorted(self._written.items()))
        new = Generation(len(self._known) + 2, self._trail, self._made_at, parts)
        named_now = Generations(self._topic, (*self._known, new))
        await self._store.replace(generations_name(self._topic), pack_generations(named_now))
        return 0

    async def close(self) -> None: ...

    def _name(self, reading: Reading) -> str:
        """The object of these offsets that counts now."""
        names = self._shelves[reading.place.partition].objects
        (name,) = [name for name in names if offsets_of(name) == (reading.first, reading.last)]
        return name


def _part(partition: int, entries: Sequence[Entry]) -> Part:
    records, last = sum(entry.count for entry in entries), entries[-1]
    return Part(partition, len(entries), records, last.last_offset, last.chain)


def _by_offset(lines: Iterable[bytes]) -> dict[int, bytes]:
    return {int(json.loads(line)["offset"]): line for line in lines}
