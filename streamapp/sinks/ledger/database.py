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

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from streamapp.errors import Misconfigured
from streamapp.sinks.ledger.rows import Bill, Row, Settlement

BILLS_MAX = 1_000  # rows one query returns unless it is told
RowOf = TypeVar("RowOf", Bill, Settlement)


class Conflict(Misconfigured):
    """A bill or settlement is there under this id with other bytes. Nothing of the chunk was written."""


TABLES: dict[type[Row], str] = {Bill: "bills", Settlement: "settlements"}
COLUMNS = {
    kind: tuple({"offset": "record_offset"}.get(field.name, field.name.removesuffix("_ms")) for field in fields(kind))
    for kind in TABLES
}
_VALUES = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in TABLES}
_BILLS, _SETTLEMENTS = (", ".join(COLUMNS[kind]) for kind in TABLES)
_BY_RECORD = f"""SELECT {_BILLS} FROM bills WHERE topic = $1 AND partition = $2 AND record_offset >= $3
    AND record_offset < $4 ORDER BY record_offset, id"""
_SELECT = f"""SELECT {_BILLS} FROM {{source}}
    WHERE (CAST($1 AS text) IS NULL OR org_id = $1) AND (CAST($2 AS text) IS NULL OR team_id = $2)
    ORDER BY period_start, org_id, team_id NULLS FIRST, currency, revision, id LIMIT $3"""
_BY_PERIOD = f"""SELECT {_BILLS} FROM bills WHERE period_start < $1
    AND (period_start, id) > ($2, $3) ORDER BY period_start, id LIMIT $4"""
_CHAIN = """SELECT b.event, b.recorded_at FROM bills a JOIN bills b ON b.org_id = a.org_id AND b.team_id = a.team_id
    AND b.currency = a.currency AND b.period_start = a.period_start WHERE a.id = $1 ORDER BY b.revision"""
_SELECT_SETTLEMENTS = f"""SELECT {_SETTLEMENTS} FROM settlements
    WHERE (CAST($1 AS text) IS NULL OR org_id = $1) AND (CAST($2 AS text) IS NULL OR agent = $2)
    ORDER BY period_end, org_id, agent, consumer, currency LIMIT $3"""


class Codec(NamedTuple):
    """How a database spells times and money, or how they are read again."""

    time: Callable[[Any], Any]
    money: Callable[[Any], Any]

    def of(self, kind: type[Row]) -> list[Callable[[Any], Any]]:
        """What each field of a row is made by, in order."""
        found = {"_ms": self.time, "Decimal": self.money}
        return [found.get(field.name[-3:]) or found.get(str(field.type)) or _same for field in fields(kind)]


def _same(value: Any) -> Any:
    return value


class Ledger(ABC):
    """Where bills are kept. Any number of writers may be at work. What differs between databases is how they connect,
    write, and spell times and money.

    Every method raises `Unavailable` when the database does not answer or is busy too long; nothing is written then,
    or (while committing) all of it.
    """

    def __init__(self, stored: Codec, read: Codec, among: str) -> None:
        """`among`: a condition, whether a column is one of the ids that are the first parameter."""
        self._time, self._read_time = stored.time, read.time
        self._stored = {kind: stored.of(kind) for kind in TABLES}
        self._read = {kind: read.of(kind) for kind in TABLES}
        self._kept = f"SELECT {_BILLS} FROM bills WHERE id {among}"

    @abstractmethod
    async def open(self, *, create: bool = True) -> None:
        """Connect and bring the schema up to date. Raises `Misconfigured` for wrong credentials, a database that is
        not there, or a schema newer than this program.

        `create` False is for those who only read: nothing is made or changed, and what would have to be is
        `Misconfigured`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the database. Twice is fine."""

    @abstractmethod
    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        """Write the rows and `next_offset` at once, or nothing; returns how many rows were new.

        Rows that are there already are passed over. The stored offset never goes back. Raises `Conflict` for a known
        id with other bytes.
        """

    @abstractmethod
    async def _ask(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of one statement; its parameters are $1, $2, …"""

    @abstractmethod
    def _ids(self, ids: Sequence[str]) -> Any:
        """Ids as one parameter."""

    async def offsets(self, topic: str) -> dict[int, int]:
        """partition → the offset to read next; a partition never written is missing."""
        return dict(await self._ask("SELECT partition, next_offset FROM ledger_offsets WHERE topic = $1", topic))

    async def bills(
        self, org: str | None = None, team: str | None = None, *, latest: bool = False, limit: int = BILLS_MAX
    ) -> list[Bill]:
        """Bills by (period_start, org, team, currency, revision), at most `limit`. `latest`: of each usage bucket the
        highest revision only."""
        return await self._rows(Bill, _SELECT.format(source="bills_latest" if latest else "bills"), org, team, limit)

    async def settlements(
        self, org: str | None = None, agent: str | None = None, *, limit: int = BILLS_MAX
    ) -> list[Settlement]:
        """Settlements by (period_end, org, agent, consumer, currency), at most `limit`."""
        return await self._rows(Settlement, _SELECT_SETTLEMENTS, org, agent, limit)

    async def rows(self, topic: str, partition: int, start: int, end: int) -> list[Bill]:
        """The bills whose records lie from offset `start` to below `end`, in this order, then by id."""
        return await self._rows(Bill, _BY_RECORD, topic, partition, start, end)

    async def between(self, begin_ms: int, end_ms: int, most: int = BILLS_MAX) -> AsyncIterator[Bill]:
        """The bills of hours that start in [begin, end), every revision, by start and id. At most `most` are read at a
        time."""
        after_ms, id_ = begin_ms, ""
        while True:
            found = await self._rows(Bill, _BY_PERIOD, self._time(end_ms), self._time(after_ms), id_, most)
            for bill in found:
                yield bill
            if len(found) < most:
                return
            after_ms, id_ = found[-1].period_start_ms, found[-1].id

    async def chain(self, id_: str) -> list[tuple[str, int]]:
        """Every revision of the bucket of a bill: its event, and when it was kept (ms)."""
        found = await self._ask(_CHAIN, id_)
        return [(event, self._read_time(recorded)) for event, recorded in found]

    async def kept(self, ids: Sequence[str]) -> dict[str, Bill]:
        """id → bill, of those that are there."""
        return {bill.id: bill for bill in await self._rows(Bill, self._kept, self._ids(ids))}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _columns(self, row: Row) -> list[Any]:
        """A row's values, as they are stored."""
        return [code(value) for code, value in zip(self._stored[type(row)], _VALUES[type(row)](row), strict=True)]

    async def _rows(self, kind: type[RowOf], query: str, *parameters: Any) -> list[RowOf]:
        codes = self._read[kind]
        found = await self._ask(query, *parameters)
        try:
            return [kind(*(code(value) for code, value in zip(codes, row, strict=True))) for row in found]
        except ValueError as error:  # nobody of ours wrote it
            raise Misconfigured(f"the ledger has a row that is not usable: {error}") from error


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
    """Why a ledger of this schema cannot be used; None: there is no schema at all."""
    if version is None:
        return Misconfigured(f"the ledger {name} is not there; is STREAM_LEDGER_URL the one of billing-ledger?")
    if version > known:
        return Misconfigured(f"the ledger has schema {version}, this program knows {known}: use a newer program")
    return Misconfigured(
        f"the ledger {name} has schema {version}, this program knows {known}: "
        "billing-ledger of this version has not been started on it yet"
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
