"""analytics-ingest: events_plugin_ingestion → ClickHouse's table of events, in blocks of thousands.

Chunks are gathered into blocks; each is promised, written, and ended with the offset behind it.

faust -A streamapp.agents.analytics_ingest worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(sink="ingest")
