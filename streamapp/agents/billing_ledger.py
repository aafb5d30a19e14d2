"""billing-ledger: billing_events → the ledger of bills and settlements, in SQLite, or PostgreSQL by STREAM_LEDGER_URL.

faust -A streamapp.agents.billing_ledger worker -l info
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamapp.agents.pages import serve
from streamapp.delivery.sink_task import SinkTakeover
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.meters.view import GroupView
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.rejected import Rejected
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Row, to_row

GROUP = "billing-ledger"

with starting():
    app = StreamApp(GROUP)
    ledger = open_ledger(app.settings.ledger)
bills = app.chunk_topic("billing_events")


class BillsKept:
    """The ledger as the destination of a sink. Opened by the first takeover."""

    _opened = False

    def parse(self, topic: str, partition: int, record: Any) -> Row | Rejected | None:
        return to_row(topic, partition, record.offset, record.value)

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        return await ledger.apply(topic, partition, next_offset, rows)

    async def offsets(self, topic: str) -> dict[int, int]:
        if not self._opened:
            await ledger.open()
            self._opened = True
        return await ledger.offsets(topic)


metrics = GroupMetrics(GROUP)
take_over: SinkTakeover[Row] = SinkTakeover(
    GROUP, "billing_events", app.settings, BillsKept(), app.clock, metrics.committed, metrics.rejected
)
app.own(take_over.topic, take_over)
serve(app, GroupView(app, metrics, app.clock))


@app.agent(bills)
async def keep(stream: Any) -> None:
    """Each chunk of statements is one database transaction, with the offset behind it."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
