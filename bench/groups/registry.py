"""Every group with a benchmark of its own, besides the main one's billing-agg: one line each."""

from __future__ import annotations

from bench.groups.analytics_ingest import ANALYTICS_INGEST
from bench.groups.audit_archive import AUDIT_ARCHIVE
from bench.groups.group import GroupBench
from bench.groups.llm_metrics import LLM_METRICS
from bench.groups.rpc_billing import RPC_BILLING

GROUPS: tuple[GroupBench, ...] = (LLM_METRICS, RPC_BILLING, AUDIT_ARCHIVE, ANALYTICS_INGEST)


def group_bench(name: str) -> GroupBench:
    """The benchmark of a group. Raises ValueError when there is none."""
    for one in GROUPS:
        if one.name == name:
            return one
    raise ValueError(f"{name}: no such group; there are {', '.join(one.name for one in GROUPS)}")
