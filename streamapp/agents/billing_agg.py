"""billing-agg: llm_usage → hourly bills per org, team and currency on billing_events.

faust -A streamapp.agents.billing_agg worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.meters.registry import declared

with starting():
    app = StreamApp("billing-agg")
    hourly = app.ExactTable(declared("usage_hourly"))
serve(app, hourly.view)


@app.agent(hourly.source)
async def bill(stream: Any) -> None:
    """Each chunk of usage is one transaction: rows, bills, dead letters and the offset, or nothing."""
    async for chunk in chunks(stream):
        await hourly.fold(chunk)
