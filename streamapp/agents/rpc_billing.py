"""rpc-billing: agent_rpc_metering → settlements per org, agent, consumer and currency on billing_events.

Each chunk of calls is one transaction: rows, settlements, dead letters and the offset, or nothing.

faust -A streamapp.agents.rpc_billing worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(table="rpc_hourly")
