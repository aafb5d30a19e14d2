"""Bills and settlements in a database (standard: "billing events are also persisted in PostgreSQL").

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
from types import TracebackType
from typing import Protocol, Self

from streamapp.errors import Misconfigured
from streamapp.sinks.ledger.rows import Bill, Row, Settlement

BILLS_MAX = 1_000  # rows one query returns unless it is told


class Conflict(Misconfigured):
    """A bill or settlement is there under this id with other bytes. Nothing of the chunk was written."""


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

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        """Write the rows and `next_offset` at once, or nothing; returns how many rows were new.

        Rows that are there already are passed over. The stored offset never goes back. Raises `Conflict` for a known
        id with other bytes.
        """

    async def offsets(self, topic: str) -> dict[int, int]:
        """partition → the offset to read next; a partition never written is missing."""

    async def bills(
        self, org: str | None = None, team: str | None = None, *, latest: bool = False, limit: int = BILLS_MAX
    ) -> list[Bill]:
        """Bills by (period_start, org, team, currency, revision), at most `limit`. `latest`: of each usage bucket the
        highest revision only."""

    async def settlements(
        self, org: str | None = None, agent: str | None = None, *, limit: int = BILLS_MAX
    ) -> list[Settlement]:
        """Settlements by (period_end, org, agent, consumer, currency), at most `limit`."""

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
        from streamapp.sinks.ledger.sqlite import SqliteLedger

        return SqliteLedger(rest[1:])
    if scheme in ("postgresql", "postgres") and rest:
        from streamapp.sinks.ledger.postgres import PostgresLedger

        return PostgresLedger(url)
    # The URL may hold a password: only its scheme is shown.
    raise Misconfigured(
        f"STREAM_LEDGER_URL ({scheme}://…) is not usable: it must be sqlite:///path or postgresql://host/database"
    )


def not_ready(name: str, version: int | None, known: int) -> Misconfigured:
    """Why somebody who only reads cannot use a ledger of this schema; None: there is no schema at all."""
    if version is None:
        return Misconfigured(f"the ledger {name} is not there; is STREAM_LEDGER_URL the one of billing-ledger?")
    newer = version > known
    return Misconfigured(
        f"the ledger {name} has schema {version}, this program knows {known}: "
        + ("use a newer one" if newer else "billing-ledger of this version has not been started on it yet")
    )


def new_ids(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows by id, each once. Raises `Conflict` when two of them claim one id with different bytes."""
    by_id: dict[str, Row] = {}
    for row in rows:
        known = by_id.setdefault(row.id, row)
        check_same(row, known.event)
    return by_id


def check_same(row: Row, known: str) -> None:
    """Raises `Conflict` when the bill that is known under the row's id has other bytes."""
    if row.event != known:
        where = f"{row.topic}[{row.partition}]@{row.offset}"
        raise Conflict(
            f"{type(row).__name__.lower()} {row.id} at {where} is in the ledger with other bytes; "
            "find out which program wrote the second one before the ledger goes on"
        )
