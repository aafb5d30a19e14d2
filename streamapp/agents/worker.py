"""The Faust app of a group, made of what the group declares: its table or its sink, an agent, its pages."""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.agents.registry import AGENTS
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.meters import registry as tables
from streamapp.sinks import registry as sinks


def worker(*, table: str = "", sink: str = "") -> tuple[StreamApp, Any]:
    """App and agent of the group that keeps this table, or this sink, for the names `app` and `agent` of its module:
    Faust's commands look there. With settings or a directory with which it cannot work, the process ends with one line
    and an exit code."""
    with starting():
        declaration = tables.declared(table) if table else sinks.declared(sink)
        app = StreamApp(declaration.group)
        kept = app.ExactTable(declaration)
    serve(app, kept.view)

    async def take(stream: Any) -> None:
        """Hand over one chunk after the other: each is one transaction, or part of one batch of a sink."""
        async for chunk in chunks(stream):
            await kept.fold(chunk)

    module = next(module for group, module, _ in AGENTS if group == declaration.group)
    return app, app.agent(kept.source, name=f"{module}.agent")(take)
