"""billing-ledger: billing_events → the ledger of bills and settlements, in SQLite, or PostgreSQL by STREAM_LEDGER_URL.

faust -A streamapp.agents.billing_ledger worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.sinks.registry import declared

with starting():
    app = StreamApp("billing-ledger")
    ledger = app.Sink(declared("kept"))
serve(app, ledger.view)


@app.agent(ledger.source)
async def keep(stream: Any) -> None:
    """Each chunk of statements is one database transaction, with the offset behind it."""
    async for chunk in chunks(stream):
        await ledger.keep(chunk)
