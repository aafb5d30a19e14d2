"""dead-letter-monitor: dead_letter → causes in a table, incidents told to PagerDuty, a webhook and the log.

faust -A streamapp.agents.dead_letter_monitor worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.meters.registry import declared

with starting():
    app = StreamApp("dead-letter-monitor")
    letters = app.ExactTable(declared("letters"))
serve(app, letters.view)


@app.agent(letters.source)
async def monitor(stream: Any) -> None:
    """Each chunk of dead letters is one transaction: counts, incidents, what is to be told, and the offset."""
    async for chunk in chunks(stream):
        await letters.fold(chunk)
