"""Every consumer group that has an agent: the name of the group, the module whose `app` is its Faust app, one line.

A new group is one module here, one line below, and a `Group` in `streamapp/topics/registry.py`. Then
`tests/tidy/test_groups.py` fails until the Procfile, docker-compose.yml, the runbook and the reference name it.
"""

from __future__ import annotations

AGENTS: tuple[tuple[str, str, str], ...] = (
    # group            module                              one line
    ("billing-agg", "streamapp.agents.billing_agg", "llm_usage → hourly bills per org, team and currency"),
    ("rpc-billing", "streamapp.agents.rpc_billing", "agent_rpc_metering → settlements of what consumers owe agents"),
    ("billing-ledger", "streamapp.agents.billing_ledger", "billing_events → the ledger of bills, a database"),
    ("llm-metrics", "streamapp.agents.llm_metrics", "llm_usage → counters, durations, true quantiles for Prometheus"),
    ("audit-archive", "streamapp.agents.audit_archive", "audit_log → an archive: S3-compatible, or a folder"),
    ("dead-letter-monitor", "streamapp.agents.dead_letter_monitor", "dead_letter → incidents: pager, webhook, log"),
    ("analytics-ingest", "streamapp.agents.analytics_ingest", "events_plugin_ingestion → ClickHouse's table of events"),
)
