"""Audit records in batches of the archive: `batch_sink.BatchSink` over `archive.objects`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamapp.archive.chain import Link, day_of, object_name, pack_link, unpack_link
from streamapp.archive.objects import Archive, Object, compress, make_entry
from streamapp.archive.store import ArchiveStore
from streamapp.delivery.batch_codec import Extent, Mark
from streamapp.delivery.batch_sink import Sealed
from streamapp.exact.place import Place
from streamapp.schemas.judging.audit_line import Line, audit_line
from streamapp.schemas.judging.rejected import Rejected
from tables.outcome import Refusal


class ArchiveSink:
    """Of one partition, for as long as its owner has it."""

    def __init__(self, store: ArchiveStore, place: Place, zstd_level: int) -> None:
        self._archive = Archive(store, place.topic, place.partition)
        self._place = place
        self._level = zstd_level

    def parse(self, records: Sequence[Any]) -> tuple[list[Line], list[Refusal]]:
        topic, partition = self._place.topic, self._place.partition
        lines: list[Line] = []
        refusals: list[Refusal] = []
        for record in records:
            line = audit_line(topic, partition, record)
            if isinstance(line, Rejected):
                refusals.append(Refusal(record, line.reason, line.error))
            else:
                lines.append(line)
        return lines, refusals

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
