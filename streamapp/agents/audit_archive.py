"""audit-archive: audit_log → objects in an S3-compatible store or a folder, each tied to the one before.

faust -A streamapp.agents.audit_archive worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.sinks.registry import declared

with starting():
    app = StreamApp("audit-archive")
    archive = app.Sink(declared("archive"))
serve(app, archive.view)


@app.agent(archive.source)
async def keep(stream: Any) -> None:
    """Each batch is promised, written under the name of its offsets, and then committed."""
    async for chunk in chunks(stream):
        await archive.keep(chunk)
