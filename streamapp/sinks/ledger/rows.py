"""An event of `billing_events` as a row of the ledger: a bill, or a settlement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from streamapp.schemas.billing import BILLING_HOURLY, BILLING_REVISED, BillingHourly, BillingRevised
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.judging.judge import first_problem, read_envelope
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.settlement import RPC_SETTLED, RpcSettled
from streamapp.schemas.values.timestamp import written_ms
from tables.cause import quoted

INT64_MAX = 2**63 - 1  # BIGINT
COST_LIMIT = Decimal(10**26)  # NUMERIC(38,12)
COST_MIN = Decimal(-(10**26))


@dataclass(frozen=True, slots=True)
class Bill:
    """One hourly statement as a row."""

    id: str
    kind: str
    revision: int
    supersedes: str | None
    org_id: str
    team_id: str | None
    currency: str
    period_start_ms: int
    period_end_ms: int
    cost: Decimal
    delta_cost: Decimal
    requests: int
    total_tokens: int
    event: str  # the value as it stands in the log, byte for byte
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One settlement as a row."""

    id: str
    org_id: str
    agent: str
    consumer: str
    currency: str
    period_start_ms: int
    period_end_ms: int
    amount: Decimal
    request_count: int
    chain: str
    chain_id: int
    event: str  # the value as it stands in the log, byte for byte
    topic: str
    partition: int
    offset: int


Row = Bill | Settlement


def row_of(topic: str, partition: int, record: Any) -> Row | Rejected | None:
    """The row of a record: `to_row`."""
    return to_row(topic, partition, record.offset, record.value)


def to_row(topic: str, partition: int, offset: int, value: bytes | None) -> Row | Rejected | None:
    """The row a billing event makes, or why it cannot be kept. None: a statement that the ledger has no columns for.
    Never raises."""
    found = read_envelope(value)
    if isinstance(found, Rejected):
        return found
    tree, envelope = found
    assert value is not None
    if envelope.type in _NOT_KEPT:
        return None
    try:
        row = _ROWS[envelope.type](tree, (value.decode(), topic, partition, offset))
    except KeyError:
        return Rejected(Reason.UNKNOWN_TYPE, f"type {quoted(envelope.type)} is not a bill")
    except ValidationError as error:
        return Rejected(Reason.INVALID_DATA, first_problem(error))
    problem = _problem(row)
    return row if problem is None else Rejected(Reason.INVALID_DATA, problem)


def _problem(row: Row) -> str | None:
    """Why a database cannot keep the row, in a sentence, or None."""
    money: tuple[Decimal, ...]
    counters: tuple[int, ...]
    if isinstance(row, Bill):
        money, counters = (row.cost, row.delta_cost), (abs(row.requests), abs(row.total_tokens), row.revision)
        names = f"{row.id}{row.supersedes}{row.org_id}{row.team_id}{row.currency}"
    else:
        money, counters = (row.amount,), (row.request_count, row.chain_id)
        names = f"{row.id}{row.org_id}{row.agent}{row.consumer}{row.currency}{row.chain}"
    # Comparing is exact; abs() would round to the digits of whatever decimal context is in force.
    if not all(COST_MIN < amount < COST_LIMIT for amount in money):
        return "the cost has more than 26 integer digits"
    if max(counters) > INT64_MAX:
        return "a counter does not fit 64 bits"
    return "a name contains U+0000, which PostgreSQL cannot keep" if "\0" in names else None


_Origin = tuple[str, str, int, int]  # event text, topic, partition, offset


def _usage_bill(model: type[BillingHourly] | type[BillingRevised], tree: object, origin: _Origin) -> Bill:
    event = model.model_validate(tree)
    data = event.data
    return Bill(
        event.id,
        event.type,
        data.revision,
        data.supersedes,
        event.org_id,
        data.team_id,
        data.currency,
        written_ms(data.period_start),
        written_ms(data.period_end),
        data.totals.cost,
        data.delta.cost,
        data.totals.requests,
        data.totals.total_tokens,
        *origin,
    )


def _settlement(tree: object, origin: _Origin) -> Settlement:
    event = RpcSettled.model_validate(tree)
    data = event.data
    return Settlement(
        event.id,
        event.org_id,
        data.agent,
        data.consumer,
        data.currency,
        written_ms(data.period_start),
        written_ms(data.period_end),
        data.amount,
        data.request_count,
        data.chain,
        data.chain_id,
        *origin,
    )


_ROWS: dict[str, Callable[[object, _Origin], Row]] = {
    BILLING_HOURLY: lambda tree, origin: _usage_bill(BillingHourly, tree, origin),
    BILLING_REVISED: lambda tree, origin: _usage_bill(BillingRevised, tree, origin),
    RPC_SETTLED: _settlement,
}
_NOT_KEPT = {entry.event_type for entry in CATALOG if entry.topic == "billing_events"} - _ROWS.keys()
