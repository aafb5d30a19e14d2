"""Bills in a database (standard: "billing events are also persisted in PostgreSQL").

Exactly once without a distributed transaction: the rows of a chunk and the offset behind it are one database
transaction, and a reader starts where the *database* says, not where the consumer group says. What each failure costs:

1. before the commit: nothing is in the database; the chunk is read and applied again
2. at the commit, outcome unknown: either (1), or rows and offset are both there and the next start is behind them
3. after the commit: nothing; a chunk that is applied again all the same finds its ids there, with the same bytes

Ids are deterministic, so a known id is the same bill. If its bytes differ, two programs claim the same bill: that is
`Conflict`, and a person must look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, ValidationError

from streamapp.errors import Misconfigured
from streamapp.schemas.billing import BILLING_HOURLY, BILLING_REVISED, BillingHourly, BillingRevised
from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Currency, Id, Model, Money, Name, Timestamp
from streamapp.schemas.rejected import Reason, Rejected
from streamapp.schemas.strict_json import Malformed, parse
from streamapp.schemas.timestamp import parse_ms

RPC_SETTLED = "billing.rpc.settled"
INT64_MAX = 2**63 - 1  # BIGINT
COST_LIMIT = Decimal(10**26)  # NUMERIC(38,12)
COST_MIN = Decimal(-(10**26))
BILLS_MAX = 1_000  # rows one query returns unless it is told


class Conflict(Misconfigured):
    """A bill is there under this id with other bytes. Nothing of the chunk was written."""


@dataclass(frozen=True, slots=True)
class Bill:
    """One event of `billing_events` as a row. Of a settlement, `cost` and `delta_cost` are its amount."""

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


class Ledger(Protocol):
    """Where bills are kept. Any number of writers may be at work.

    Every method raises `Unavailable` when the database does not answer or is busy too long; nothing is written then,
    or (while committing) all of it.
    """

    async def open(self, *, create: bool = True) -> None:
        """Connect and bring the schema up to date. Raises `Misconfigured` for wrong credentials, a database that is
        not there, or a schema newer than this program.

        `create` False is for those who only read: nothing is made or changed, and what would have to be is
        `Misconfigured`."""

    async def close(self) -> None:
        """Let go of the database. Twice is fine."""

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Bill]) -> int:
        """Write the rows and `next_offset` at once, or nothing; returns how many bills were new.

        Rows that are there already are passed over. The stored offset never goes back. Raises `Conflict` for a known
        id with other bytes.
        """

    async def offsets(self, topic: str) -> dict[int, int]:
        """partition → the offset to read next; a partition never written is missing."""

    async def bills(
        self, org: str | None = None, team: str | None = None, *, latest: bool = False, limit: int = BILLS_MAX
    ) -> list[Bill]:
        """Bills by (period_start, org, team, currency, revision), at most `limit`. `latest`: of each usage bucket the
        highest revision only, without settlements."""

    async def rows(self, topic: str, partition: int, start: int, end: int) -> list[Bill]:
        """The bills whose records lie from offset `start` to below `end`, in this order, then by id."""

    async def kept(self, ids: Sequence[str]) -> dict[str, Bill]:
        """id → bill, of those that are there."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_ledger(url: str) -> Ledger:
    """The ledger behind a URL, not yet connected: `sqlite:///path` or `postgresql://user:password@host/database`.

    Raises `Misconfigured` for any other URL. `async with open_ledger(url) as ledger` opens and closes it.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1 and rest != "/:memory:":
        from streamapp.sinks.ledger_sqlite import SqliteLedger

        return SqliteLedger(rest[1:])
    if scheme in ("postgresql", "postgres") and rest:
        from streamapp.sinks.ledger_postgres import PostgresLedger

        return PostgresLedger(url)
    # The URL may hold a password: only its scheme is shown.
    raise Misconfigured(
        f"STREAM_LEDGER_URL ({scheme}://…) is not usable: it must be sqlite:///path or postgresql://host/database"
    )


def to_bill(topic: str, partition: int, offset: int, value: bytes | None) -> Bill | Rejected:
    """The row a billing event makes, or why it cannot be kept. Never raises."""
    if not value:
        return Rejected(Reason.EMPTY_VALUE, "the record has no value")
    try:
        tree, strange = parse(value)
    except Malformed as error:
        return Rejected(Reason.MALFORMED_JSON, f"the value {error}")
    if strange:
        return Rejected(Reason.MALFORMED_JSON, f"the value is not JSON: it contains {strange[0]}")
    try:
        envelope = Envelope.model_validate(tree)
    except ValidationError as error:
        return Rejected(Reason.INVALID_ENVELOPE, _sentence(error))
    try:
        bill = _ROWS[envelope.type](tree, (value.decode(), topic, partition, offset))
    except KeyError:
        return Rejected(Reason.UNKNOWN_TYPE, f"type {envelope.type[:100]!r} is not a bill")
    except ValidationError as error:
        return Rejected(Reason.INVALID_DATA, _sentence(error))
    # Comparing is exact; abs() would round to the digits of whatever decimal context is in force.
    if not all(COST_MIN < cost < COST_LIMIT for cost in (bill.cost, bill.delta_cost)):
        return Rejected(Reason.INVALID_DATA, "the cost has more than 26 integer digits")
    if max(abs(bill.requests), abs(bill.total_tokens), bill.revision) > INT64_MAX:
        return Rejected(Reason.INVALID_DATA, "a counter does not fit 64 bits")
    if "\0" in f"{bill.id}{bill.supersedes}{bill.org_id}{bill.team_id}{bill.currency}":
        return Rejected(Reason.INVALID_DATA, "a name contains U+0000, which PostgreSQL cannot keep")
    return bill


def not_ready(name: str, version: int | None, known: int) -> Misconfigured:
    """Why somebody who only reads cannot use a ledger of this schema; None: there is no schema at all."""
    if version is None:
        return Misconfigured(f"the ledger {name} is not there; is STREAM_LEDGER_URL the one of billing-ledger?")
    newer = version > known
    return Misconfigured(
        f"the ledger {name} has schema {version}, this program knows {known}: "
        + ("use a newer one" if newer else "billing-ledger of this version has not been started on it yet")
    )


def new_ids(rows: Iterable[Bill]) -> dict[str, Bill]:
    """The rows by id, each once. Raises `Conflict` when two of them claim one id with different bytes."""
    by_id: dict[str, Bill] = {}
    for row in rows:
        known = by_id.setdefault(row.id, row)
        check_same(row, known.event)
    return by_id


def check_same(row: Bill, known: str) -> None:
    """Raises `Conflict` when the bill that is known under the row's id has other bytes."""
    if row.event != known:
        raise Conflict(
            f"bill {row.id} at {row.topic}[{row.partition}]@{row.offset} is in the ledger with other bytes; "
            "find out which program wrote the second one before the ledger goes on"
        )


class _Settlement(Model):
    """What the ledger needs of a settlement (decision 16)."""

    settlement_id: Id
    amount: Money
    request_count: Annotated[int, Field(ge=0)]
    period_start: Timestamp
    period_end: Timestamp
    currency: Currency
    agent: Name
    consumer: Name


class _Settled(Envelope):
    type: Literal["billing.rpc.settled"]
    org_id: Id
    data: _Settlement


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
        _ms(data.period_start),
        _ms(data.period_end),
        data.totals.cost,
        data.delta.cost,
        data.totals.requests,
        data.totals.total_tokens,
        *origin,
    )


def _settlement(tree: object, origin: _Origin) -> Bill:
    event = _Settled.model_validate(tree)
    data = event.data
    return Bill(
        event.id,
        event.type,
        0,
        None,
        event.org_id,
        event.team_id,
        data.currency,
        _ms(data.period_start),
        _ms(data.period_end),
        data.amount,
        data.amount,
        data.request_count,
        0,
        *origin,
    )


_ROWS = {
    BILLING_HOURLY: lambda tree, origin: _usage_bill(BillingHourly, tree, origin),
    BILLING_REVISED: lambda tree, origin: _usage_bill(BillingRevised, tree, origin),
    RPC_SETTLED: _settlement,
}


def _ms(text: str) -> int:
    at_ms = parse_ms(text)
    assert at_ms is not None, text
    return at_ms


def _sentence(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'the value'}: {problem['msg']}"
