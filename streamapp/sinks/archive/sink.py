"""audit_log in the archive, declared: objects, each with its entry, and the manifest of each day.

The order of a batch, and what a failure costs at each step. All of it is done again from the first step on, with the
same bytes, by whoever finds the promise (`sinks.task`):

    1  the object, if there is none of its name      nothing: nobody is told of it
    2  its entry, which ties it to the one before    the object has no entry yet; `archive verify` calls it unfinished
    3  the day's manifest                            the manifest is behind; it is made from the entries again

Objects and entries are written once and never changed, so a store may lock them. The manifest of a day is written anew
as it grows, by a thirty-second at least, and when the next day begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.errors import Misconfigured
from streamapp.exact.declaration import EventSource
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging.audit_line import Line, audit_line
from streamapp.settings import Settings
from streamapp.sinks.archive.chain import (
    GENESIS,
    OBJECT,
    Entry,
    Link,
    day_of,
    entry_name,
    folder_of,
    object_name,
    pack_entry,
    pack_link,
    partition_folder,
    unpack_link,
)
from streamapp.sinks.archive.objects import Day, Object, compress, entry_from, load_day, make_entry
from streamapp.sinks.archive.rewrite import ArchiveRewriter
from streamapp.sinks.archive.store import ADVICE, ArchiveStore, open_archive
from streamapp.sinks.declaration import SinkDeclaration, each
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import Extent, Mark, marks
from streamapp.sinks.task import Bounds


class Archives(Destination[Line]):
    """The store, with an archive of each partition."""

    def __init__(self, store: ArchiveStore, zstd_level: int) -> None:
        self._store = store
        self._level = zstd_level

    def at(self, place: Place) -> ArchiveSink:
        return ArchiveSink(self._store, place, self._level)


class ArchiveSink(Destination[Line]):
    """Of one partition: a batch is an object with the name of its offsets, the state is the end of the chain. Of no use
    after its owner: what it remembers of a day is its own writing."""

    def __init__(self, store: ArchiveStore, place: Place, zstd_level: int) -> None:
        self._store, self._place, self._level = store, place, zstd_level
        self._folder = partition_folder(place.topic, place.partition)
        self._day: Day | None = None

    def seal(self, place: Place, extent: Extent, rows: Sequence[Line], state: bytes) -> Sealed:
        data = compress((line.text for line in rows), self._level)
        previous, day = unpack_link(state).chain, day_of(rows[0].record_ms)
        name = object_name(place.topic, place.partition, extent.first, extent.last, day)
        times = [line.at_ms for line in rows]
        entry = make_entry(name, data, previous, len(rows), min(times), max(times))
        return Sealed(Object(data, entry), pack_link(Link(bytes.fromhex(entry.chain), previous, day)))

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        """Raises `Misconfigured`, too, where another chain has begun, or where an object of its name has other
        bytes."""
        await self._keep(sealed.content)

    async def holds(self, place: Place, mark: Mark) -> bool:
        """What is missing beside the object is made."""
        extent, link = mark.extent, unpack_link(mark.state)
        name = object_name(place.topic, place.partition, extent.first, extent.last, link.day)
        data = await self._store.get(name)
        entry = None if data is None else entry_from(name, data, link.previous)
        if data is None or entry is None or bytes.fromhex(entry.chain) != link.chain:
            return False
        await self._keep(Object(data, entry))
        return True

    async def _keep(self, made: Object) -> None:
        if bytes.fromhex(made.entry.previous) == GENESIS:
            await self._refuse_strangers(made.entry.name)
        await self._store.create(made.entry.name, made.data)
        await self._store.create(entry_name(made.entry.name), pack_entry(made.entry))
        await self._note(made.entry)

    async def _refuse_strangers(self, name: str) -> None:
        async for other, _ in self._store.names(self._folder):
            if other.endswith(OBJECT) and other != name:
                raise Misconfigured(
                    f"{self._store.url}/{self._folder} has objects, and this group has archived nothing of partition "
                    f"{self._place.partition} yet: records would be there twice; {ADVICE}"
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

    async def _leave(self, day: Day | None, folder: str) -> None:
        """A day is over, unless records with older timestamps come: its manifest has all of it now."""
        if day is None:  # somebody else wrote it, and may have ended there
            dates = {folder_of(name) async for name, _ in self._store.names(self._folder)}
            older = max((other for other in dates if other < folder), default=None)
            day = None if older is None else await load_day(self._store, older)
        if day is not None and day.is_behind:
            await day.write(self._store)


def ends(settings: Settings) -> Bounds:
    """Large objects: a store charges for each."""
    archive = settings.archive
    return Bounds(archive.flush_records, archive.flush_bytes, int(archive.flush_seconds * 1000))


SINK = SinkDeclaration(
    group="audit-archive",
    rows=marks("archive"),
    source=EventSource("audit_log"),
    read=lambda settings: each(audit_line),
    destination=lambda settings: Archives(
        open_archive(settings.archive, settings.archive_url), settings.archive.zstd_level
    ),
    ends=ends,
    rewriter=lambda settings: ArchiveRewriter(
        open_archive(settings.archive, settings.archive_url), "audit_log", settings.archive.zstd_level
    ),
    help="how far the archive has every audit record, and the end of its chain",
)
