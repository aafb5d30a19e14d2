"""The row that a statement must have in the ledger, by the check's own reading of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streamapp.kafka.reader import Record
from streamapp.ops.verify_statement import HOURLY, REVISED, statement
from streamapp.ops.verify_usage import HOUR_MS, Poison, parse, time_ms
from streamapp.sinks.ledger_rows import Bill

SETTLED = "billing.rpc.settled"


def is_bill(record: Record) -> bool:
    """Whether the ledger will keep it, by its type alone."""
    event = parse(record.value or b"")
    return not isinstance(event, Poison) and event.get("type") in (HOURLY, REVISED, SETTLED)


def expected(record: Record) -> Bill | None:
    """The row; None for what is no statement."""
    event = parse(record.value or b"")
    if isinstance(event, Poison):
        return None
    if event.get("type") in (HOURLY, REVISED):
        return _usage_row(record, event)
    return _settled_row(record, event) if event.get("type") == SETTLED else None


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


def _settled_row(record: Record, event: Mapping[str, Any]) -> Bill | None:
    try:
        data = event["data"]
        amount = Decimal(data["amount"])
        return Bill(
            id=event["id"],
            kind=event["type"],
            revision=0,
            supersedes=None,
            org_id=event["org_id"],
            team_id=event.get("team_id"),
            currency=data["currency"],
            period_start_ms=time_ms(data["period_start"]),
            period_end_ms=time_ms(data["period_end"]),
            cost=amount,
            delta_cost=amount,
            requests=int(data["request_count"]),
            total_tokens=0,
            **_origin(record),
        )
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None


def _origin(record: Record) -> dict[str, Any]:
    value = (record.value or b"").decode()
    return {"event": value, "topic": record.topic, "partition": record.partition, "offset": record.offset}
