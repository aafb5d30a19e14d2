"""billing_events in the ledger, declared."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.exact.declaration import EventSource
from streamapp.exact.partition.place import Place
from streamapp.sinks.declaration import SinkDeclaration, each
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.ledger.database import Ledger, open_ledger
from streamapp.sinks.ledger.rows import Row, row_of
from streamapp.sinks.marks import Extent, marks


class LedgerSink(Destination[Row]):
    """The database keeps the offset behind the rows, in one transaction. Opened by the first takeover."""

    keeps_offset = True

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._opened = False

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        await self._ledger.apply(place.topic, place.partition, extent.last + 1, sealed.content)

    async def offsets(self, topic: str) -> Mapping[int, int]:
        if not self._opened:
            await self._ledger.open()
            self._opened = True
        return await self._ledger.offsets(topic)


SINK = SinkDeclaration[Row](
    group="billing-ledger",
    rows=marks("kept"),
    source=EventSource("billing_events"),
    read=lambda settings: each(row_of),
    destination=lambda settings: LedgerSink(open_ledger(settings.ledger)),
    help="how far the ledger has every bill and settlement",
    again="give it an empty database, which it fills from the beginning",
)
