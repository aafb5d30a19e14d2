"""billing-agg: llm_usage → hourly bills per org, team and currency on billing_events.

Each chunk of usage is one transaction: rows, bills, dead letters and the offset, or nothing.

faust -A streamapp.agents.billing_agg worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(table="usage_hourly")
