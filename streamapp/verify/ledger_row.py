"""The row that a statement must have in the ledger, by the check's own reading of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamapp.kafka.log.reader import Record
from streamapp.sinks.ledger.rows import Bill
from streamapp.verify.statement import HOURLY, REVISED, statement
from streamapp.verify.usage import HOUR_MS, Poison, parse


def is_bill(record: Record) -> bool:
    """Whether the ledger will keep it as a bill, by its type alone."""
    event = parse(record.value or b"")
    return not isinstance(event, Poison) and event.get("type") in (HOURLY, REVISED)


def expected(record: Record) -> Bill | None:
    """The row; None for what is no statement."""
    event = parse(record.value or b"")
    if isinstance(event, Poison):
        return None
    return _usage_row(record, event) if event.get("type") in (HOURLY, REVISED) else None


def _usage_row(record: Record, event: Mapping[str, Any]) -> Bill | None:
    stated = statement(record, dict(event))
    if isinstance(stated, str):
        return None
    bucket = stated.bucket
    return Bill(
        id=stated.id,
        kind=event["type"],
        revision=stated.revision,
        supersedes=stated.supersedes,
        org_id=bucket.org,
        team_id=bucket.team,
        currency=bucket.currency,
        period_start_ms=bucket.start_ms,
        period_end_ms=bucket.start_ms + HOUR_MS,
        cost=stated.totals.cost,
        delta_cost=stated.delta.cost,
        requests=stated.totals.requests,
        total_tokens=stated.totals.total_tokens,
        **_origin(record),
    )


def _origin(record: Record) -> dict[str, Any]:
    value = (record.value or b"").decode()
    return {"event": value, "topic": record.topic, "partition": record.partition, "offset": record.offset}
