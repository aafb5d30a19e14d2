"""How the independent check reads a settlement, and whether it agrees with itself."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.accounts import Count, Counts, Who
from streamapp.verify.usage import EXACT, HOUR_MS, ZERO, time_ms

RPC_SETTLED = "billing.rpc.settled"


class Settled(NamedTuple):
    """One settlement as stated."""

    where: str
    id: str
    who: Who
    start_ms: int
    end_ms: int
    amount: Decimal
    calls: int
    methods: Counts
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    events: int
    problems: tuple[str, ...]  # what does not hold within it


def settled(record: Record, event: dict[str, Any]) -> Settled | str:
    """The settlement in a record, or why it cannot be read."""
    where = f"{record.topic}[{record.partition}]@{record.offset}"
    try:
        data, org = event["data"], event["org_id"]
        covered = data["coverage"]
        methods = {name: Count(one["count"], Decimal(one["cost"])) for name, one in data["methods"].items()}
        stated = Settled(
            where,
            event["id"],
            Who(org, data["agent"], data["consumer"], data["currency"]),
            time_ms(data["period_start"]),
            time_ms(data["period_end"]),
            Decimal(data["amount"]),
            data["request_count"],
            methods,
            covered["topic"],
            covered["partition"],
            covered["first_offset"],
            covered["last_offset"],
            covered["events"],
            (),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return f"is no settlement that can be read: {type(error).__name__} {error}"
    return stated._replace(problems=tuple(_problems(stated, record, event)))


def _problems(stated: Settled, record: Record, event: dict[str, Any]) -> Iterator[str]:
    if event["data"].get("settlement_id") != stated.id:
        yield "settlement_id is not the envelope's id"
    if record.key != stated.who.org.encode():
        yield "the record key is not the org"
    amount = ZERO
    for one in stated.methods.values():
        amount = EXACT.add(amount, one.cost)
    if amount != stated.amount:
        yield "its methods do not add up to its amount"
    if sum(one.calls for one in stated.methods.values()) != stated.calls or stated.events != stated.calls:
        yield "its methods, request_count and coverage do not count the same calls"
    if stated.start_ms % HOUR_MS or stated.end_ms % HOUR_MS or stated.start_ms >= stated.end_ms:
        yield "its period is not of full hours"
