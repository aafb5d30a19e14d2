"""Whether a worker does its work, for probes and for people."""

from __future__ import annotations

from typing import Any

from streamapp.facts.worker import WorkerFacts
from streamapp.web.workers import group


def of(facts: WorkerFacts, now: int, tells_all: bool, ready: bool = False) -> tuple[dict[str, Any], int]:
    """Body and status of `/health`, or of `/health/ready`: not before the worker has joined its group, nor while it
    takes partitions over. Strangers are told the state alone."""
    starting = bool(facts.taking) or not facts.joined
    stuck = [p.partition for p in facts.partitions if group.stuck(p, now)]
    absent = facts.missing_topics
    state = (
        "topics missing"
        if absent
        else "stuck"
        if stuck
        else "starting"
        if starting
        else "ok"
        if facts.partitions
        else "standby"
    )
    details = {
        "group": facts.group,
        "worker": facts.name,
        "started_ms": facts.started_ms,
        "partitions": len(facts.partitions),
        "stuck": stuck,
        "starting": facts.taking,
        "missing_topics": absent,
        "lag": sum(p.lag for p in facts.partitions),
    }
    body = {"status": state, **(details if tells_all else {})}
    return body, 503 if stuck or absent or (ready and starting) else 200
