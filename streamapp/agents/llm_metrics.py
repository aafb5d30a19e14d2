"""llm-metrics: llm_usage → counters, durations and true quantiles per provider, model and stream for Prometheus.

faust -A streamapp.agents.llm_metrics worker -l info
"""

from __future__ import annotations

from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks, starting
from streamapp.meters.registry import declared

with starting():
    app = StreamApp("llm-metrics")
    latency = app.ExactTable(declared("latency"))
serve(app, latency.view)


@app.agent(latency.source)
async def measure(stream: Any) -> None:
    """Each chunk of usage is one transaction: rows and the offset, or nothing."""
    async for chunk in chunks(stream):
        await latency.fold(chunk)
