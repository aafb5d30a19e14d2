"""A crossed limit as its event: the same crossing always becomes the same bytes."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.meters.stated import envelope
from streamapp.meters.usage.statement import SOURCE
from streamapp.schemas.budget import BUDGET_CROSSED
from streamapp.schemas.values.money import money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import id_of
from tables.usage.budget import Crossing
from tables.usage.hourly import MonthKey
from tables.window import month_end, month_start

_encode = msgspec.json.Encoder().encode


def crossing_id(month: MonthKey, kind: str, amount: Decimal) -> str:
    """The id of a crossing. As `ulid.statement_id`, over a JSON array of seven values:

        ["billing.budget.crossed","org_hanzo","team_abc123","USD","2025-01","soft","100.000000000000"]

    and with the month's end as the time part.
    """
    facts = (BUDGET_CROSSED, month.org, month.team, month.currency, month.month, kind, money_text(amount))
    return id_of(month_end(month.month), facts)


def event(crossing: Crossing, topic: str, partition: int) -> bytes:
    """The JSON of the event that states it, of usage read from `topic`-`partition`."""
    month, limit = crossing.key, crossing.limit
    made = crossing_id(month, limit.kind, limit.amount)
    data = {
        "crossing_id": made,
        "team_id": month.team,
        "month": month.month,
        "period_start": format_ms(month_start(month.month)),
        "period_end": format_ms(month_end(month.month)),
        "currency": month.currency,
        "limit": {"kind": limit.kind, "amount": money_text(limit.amount)},
        "cost": money_text(crossing.cost),
        "event": {"id": crossing.event_id, "topic": topic, "partition": partition, "offset": crossing.offset},
    }
    return _encode(envelope(made, BUDGET_CROSSED, SOURCE, crossing.at_ms, month.org, data, team_id=month.team))


def send(crossing: Crossing, place: Place, bills: str) -> Send:
    """The record for topic `bills`, keyed by org."""
    return place.record(bills, crossing.key.org.encode(), event(crossing, place.topic, place.partition))
