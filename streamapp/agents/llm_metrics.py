"""llm-metrics: llm_usage → counters, durations and true quantiles per provider, model and stream for Prometheus.

Each chunk of usage is one transaction: rows and the offset, or nothing.

faust -A streamapp.agents.llm_metrics worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(table="latency")
