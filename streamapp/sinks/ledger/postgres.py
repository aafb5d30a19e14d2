"""The ledger in PostgreSQL 13 or newer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from streamapp.errors import Misconfigured
from streamapp.sinks.ledger.connections import Connection, Postgres, ask, value
from streamapp.sinks.ledger.database import BILLS_MAX, check_same, new_ids, not_ready
from streamapp.sinks.ledger.rows import Bill, Row, Settlement

ANSWER_SECONDS = 30.0  # connecting, and any one statement: a chunk takes milliseconds
LOCK = 0x5374_7265_616D_4C67  # any number that nobody else locks: "StreamLg"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE bills (
            id text COLLATE "C" PRIMARY KEY, kind text NOT NULL, revision bigint NOT NULL, supersedes text,
            org_id text COLLATE "C" NOT NULL, team_id text COLLATE "C", currency text COLLATE "C" NOT NULL,
            period_start timestamptz NOT NULL, period_end timestamptz NOT NULL,
            cost numeric(38, 12) NOT NULL, delta_cost numeric(38, 12) NOT NULL,
            requests bigint NOT NULL, total_tokens bigint NOT NULL,
            event text NOT NULL, topic text NOT NULL, partition integer NOT NULL, record_offset bigint NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT now()
        )""",
        "CREATE INDEX bills_by_bucket ON bills (org_id, team_id, currency, period_start, revision)",
        """CREATE TABLE ledger_offsets (
            topic text NOT NULL, partition integer NOT NULL, next_offset bigint NOT NULL,
            PRIMARY KEY (topic, partition)
        )""",
        """CREATE VIEW bills_latest AS SELECT * FROM bills b
            WHERE kind IN ('billing.usage.hourly', 'billing.usage.revised') AND NOT EXISTS (
                SELECT 1 FROM bills n WHERE n.org_id = b.org_id AND n.team_id = b.team_id
                AND n.currency = b.currency AND n.period_start = b.period_start AND n.revision > b.revision
                AND n.kind IN ('billing.usage.hourly', 'billing.usage.revised'))""",
    ),
    ("CREATE INDEX bills_by_record ON bills (topic, partition, record_offset)",),
    (
        """CREATE TABLE settlements (
            id text COLLATE "C" PRIMARY KEY, org_id text COLLATE "C" NOT NULL, agent text COLLATE "C" NOT NULL,
            consumer text COLLATE "C" NOT NULL, currency text COLLATE "C" NOT NULL,
            period_start timestamptz NOT NULL, period_end timestamptz NOT NULL,
            amount numeric(38, 12) NOT NULL, request_count bigint NOT NULL,
            chain text NOT NULL, chain_id bigint NOT NULL,
            event text NOT NULL, topic text NOT NULL, partition integer NOT NULL, record_offset bigint NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT now()
        )""",
        "CREATE INDEX settlements_by_account ON settlements (org_id, agent, consumer, currency, period_end)",
    ),
)
"""Each entry is one version of the schema; table `ledger_schema` counts those applied. Entries are only ever added."""

_BILL = (
    *(("id", "text"), ("kind", "text"), ("revision", "bigint"), ("supersedes", "text"), ("org_id", "text")),
    *(("team_id", "text"), ("currency", "text"), ("period_start", "timestamptz"), ("period_end", "timestamptz")),
    *(("cost", "numeric"), ("delta_cost", "numeric"), ("requests", "bigint"), ("total_tokens", "bigint")),
)
_SETTLEMENT = (
    *(("id", "text"), ("org_id", "text"), ("agent", "text"), ("consumer", "text"), ("currency", "text")),
    *(("period_start", "timestamptz"), ("period_end", "timestamptz"), ("amount", "numeric")),
    *(("request_count", "bigint"), ("chain", "text"), ("chain_id", "bigint")),
)
_PLACE = (("event", "text"), ("topic", "text"), ("partition", "integer"), ("record_offset", "bigint"))
_BILL_NAMES, _SETTLEMENT_NAMES = (", ".join(name for name, _ in (*part, *_PLACE)) for part in (_BILL, _SETTLEMENT))


def _insert_into(table: str, columns: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(name for name, _ in columns)
    lists = ", ".join(f"${at}::{type_}[]" for at, (_, type_) in enumerate(columns, 1))
    return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({lists}) ON CONFLICT (id) DO NOTHING RETURNING id"


_INSERTS = {"bills": _insert_into("bills", (*_BILL, *_PLACE))}
_INSERTS["settlements"] = _insert_into("settlements", (*_SETTLEMENT, *_PLACE))
_ADVANCE = """INSERT INTO ledger_offsets VALUES ($1, $2, $3) ON CONFLICT (topic, partition)
    DO UPDATE SET next_offset = greatest(ledger_offsets.next_offset, excluded.next_offset)"""
_BY_RECORD = f"""SELECT {_BILL_NAMES} FROM bills WHERE topic = $1 AND partition = $2 AND record_offset >= $3
    AND record_offset < $4 ORDER BY record_offset, id"""
_SELECT = f"""SELECT {_BILL_NAMES} FROM {{source}}
    WHERE ($1::text IS NULL OR org_id = $1) AND ($2::text IS NULL OR team_id = $2)
    ORDER BY period_start, org_id, team_id NULLS FIRST, currency, revision, id LIMIT $3"""
_SELECT_SETTLEMENTS = f"""SELECT {_SETTLEMENT_NAMES} FROM settlements
    WHERE ($1::text IS NULL OR org_id = $1) AND ($2::text IS NULL OR agent = $2)
    ORDER BY period_end, org_id, agent, consumer, currency LIMIT $3"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class PostgresLedger:
    """`Ledger` in the database that `url` names, in its default schema."""

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._url = url
        self._answer_seconds = answer_seconds
        self._database: Postgres | None = None

    async def open(self, *, create: bool = True) -> None:
        async def prepare(connection: Connection) -> None:
            async with connection.transaction():
                await (_migrate if create else _check_schema)(connection)

        database = Postgres(self._url, self._answer_seconds)
        try:
            await database.run(prepare)
        except BaseException:
            await database.close()
            raise
        self._database = database

    async def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        by_id = new_ids(rows)

        async def write(connection: Connection) -> int:
            async with connection.transaction():
                # First, so that two writers of one partition wait for each other here and nowhere else.
                await ask(connection, _ADVANCE, topic, partition, next_offset)
                new = 0
                for table, kind in (("bills", Bill), ("settlements", Settlement)):
                    # Sorted: two writers that (wrongly) hold the same rows from different partitions lock in one order.
                    ids = sorted(id_ for id_, row in by_id.items() if isinstance(row, kind))
                    new += await _insert(connection, table, {id_: by_id[id_] for id_ in ids}) if ids else 0
                return new

        return await self._opened.run(write)

    async def offsets(self, topic: str) -> dict[int, int]:
        found = await self._ask("SELECT partition, next_offset FROM ledger_offsets WHERE topic = $1", topic)
        return dict(found)

    async def bills(
        self, org: str | None = None, team: str | None = None, *, latest: bool = False, limit: int = BILLS_MAX
    ) -> list[Bill]:
        query = _SELECT.format(source="bills_latest" if latest else "bills")
        return [_bill(row) for row in await self._ask(query, org, team, limit)]

    async def rows(self, topic: str, partition: int, start: int, end: int) -> list[Bill]:
        return [_bill(row) for row in await self._ask(_BY_RECORD, topic, partition, start, end)]

    async def kept(self, ids: Sequence[str]) -> dict[str, Bill]:
        found = await self._ask(f"SELECT {_BILL_NAMES} FROM bills WHERE id = ANY($1::text[])", [*ids])
        return {row[0]: _bill(row) for row in found}

    async def settlements(
        self, org: str | None = None, agent: str | None = None, *, limit: int = BILLS_MAX
    ) -> list[Settlement]:
        return [_settlement(row) for row in await self._ask(_SELECT_SETTLEMENTS, org, agent, limit)]

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return await self._opened.run(lambda connection: ask(connection, query, *parameters))

    @property
    def _opened(self) -> Postgres:
        assert self._database is not None, "open() comes first"
        return self._database


async def _migrate(connection: Connection) -> None:
    await ask(connection, "SELECT pg_advisory_xact_lock($1)", LOCK)  # two starts at once: one waits
    encoding = await value(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise Misconfigured(f"the ledger's database is encoded as {encoding}; make one with ENCODING 'UTF8'")
    await ask(connection, "CREATE TABLE IF NOT EXISTS ledger_schema (version integer NOT NULL)")
    version = await value(connection, "SELECT max(version) FROM ledger_schema") or 0
    if version > len(MIGRATIONS):
        raise Misconfigured(
            f"the ledger has schema {version}, this program knows {len(MIGRATIONS)}: use a newer program"
        )
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        for statement in migration:
            await ask(connection, statement)
        await ask(connection, "INSERT INTO ledger_schema VALUES ($1)", number)


async def _check_schema(connection: Connection) -> None:
    there = await value(connection, "SELECT to_regclass('ledger_schema')")
    version = await value(connection, "SELECT max(version) FROM ledger_schema") if there is not None else None
    if version != len(MIGRATIONS):
        raise not_ready("database", version, len(MIGRATIONS))


async def _insert(connection: Connection, table: str, by_id: dict[str, Row]) -> int:
    rows = [_columns(row) for row in by_id.values()]
    inserted = {row[0] for row in await ask(connection, _INSERTS[table], *map(list, zip(*rows, strict=True)))}
    known = [id_ for id_ in by_id if id_ not in inserted]
    query = f"SELECT id, event FROM {table} WHERE id = ANY($1::text[])"
    for id_, event in await ask(connection, query, known) if known else ():
        check_same(by_id[id_], event)
    return len(inserted)


def _columns(row: Row) -> tuple[Any, ...]:
    period = _EPOCH + row.period_start_ms * _MS, _EPOCH + row.period_end_ms * _MS
    place = row.event, row.topic, row.partition, row.offset
    if isinstance(row, Settlement):
        account = row.id, row.org_id, row.agent, row.consumer, row.currency
        return *account, *period, row.amount, row.request_count, row.chain, row.chain_id, *place
    who = row.id, row.kind, row.revision, row.supersedes, row.org_id, row.team_id, row.currency
    return *who, *period, row.cost, row.delta_cost, row.requests, row.total_tokens, *place


def _bill(row: tuple[Any, ...]) -> Bill:
    period = (row[7] - _EPOCH) // _MS, (row[8] - _EPOCH) // _MS
    return Bill(*[*row[:7], *period, *row[9:]])


def _settlement(row: tuple[Any, ...]) -> Settlement:
    period = (row[5] - _EPOCH) // _MS, (row[6] - _EPOCH) // _MS
    return Settlement(*[*row[:5], *period, *row[7:]])
