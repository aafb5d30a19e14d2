"""analytics-ingest: events_plugin_ingestion → ClickHouse's table of events, in blocks of thousands.

faust -A streamapp.agents.analytics_ingest worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.sinks.registry import declared

with starting():
    app = StreamApp("analytics-ingest")
    events = app.Sink(declared("ingest"))
serve(app, events.view)


@app.agent(events.source)
async def ingest(stream: Any) -> None:
    """Chunks are gathered into blocks; each is promised, written, and ended with the offset behind it."""
    async for chunk in chunks(stream):
        await events.keep(chunk)
