"""rpc-billing: agent_rpc_metering → settlements per org, agent, consumer and currency on billing_events.

faust -A streamapp.agents.rpc_billing worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.meters.registry import declared

with starting():
    app = StreamApp("rpc-billing")
    calls = app.ExactTable(declared("rpc_hourly"))
serve(app, calls.view)


@app.agent(calls.source)
async def settle(stream: Any) -> None:
    """Each chunk of calls is one transaction: rows, settlements, dead letters and the offset, or nothing."""
    async for chunk in chunks(stream):
        await calls.fold(chunk)
