"""audit_log in the archive, declared."""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.exact.declaration import EventSource
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging.audit_line import Line, audit_line
from streamapp.settings import Settings
from streamapp.sinks.archive.chain import Link, day_of, object_name, pack_link, unpack_link
from streamapp.sinks.archive.objects import Archive, Object, compress, make_entry
from streamapp.sinks.archive.rewrite import ArchiveRewriter
from streamapp.sinks.archive.store import ArchiveStore, open_archive
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
    """Of one partition: a batch is an object with the name of its offsets, the state is the end of the chain."""

    def __init__(self, store: ArchiveStore, place: Place, zstd_level: int) -> None:
        self._archive = Archive(store, place.topic, place.partition)
        self._level = zstd_level

    def seal(self, place: Place, extent: Extent, rows: Sequence[Line], state: bytes) -> Sealed:
        data = compress((line.text for line in rows), self._level)
        previous, day = unpack_link(state).chain, day_of(rows[0].record_ms)
        name = object_name(place.topic, place.partition, extent.first, extent.last, day)
        times = [line.at_ms for line in rows]
        entry = make_entry(name, data, previous, len(rows), min(times), max(times))
        return Sealed(Object(data, entry), pack_link(Link(bytes.fromhex(entry.chain), previous, day)))

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        await self._archive.keep(sealed.content)

    async def holds(self, place: Place, mark: Mark) -> bool:
        return await self._archive.holds(mark.extent.first, mark.extent.last, unpack_link(mark.state))


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
