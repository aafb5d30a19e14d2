"""The ledger in PostgreSQL 13 or newer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from streamapp.errors import Misconfigured
from streamapp.sinks.ledger.connections import Connection, Postgres, ask, value
from streamapp.sinks.ledger.database import COLUMNS, TABLES, Codec, Ledger, check_same, new_ids, not_ready
from streamapp.sinks.ledger.rows import Row
from streamapp.sinks.ledger.schema import Words, versions

ANSWER_SECONDS = 30.0  # connecting, and any one statement: a chunk takes milliseconds
LOCK = 0x5374_7265_616D_4C67  # any number that nobody else locks: "StreamLg"

MIGRATIONS = versions(Words('text COLLATE "C"', "text", "integer", "bigint", "numeric(38, 12)", "timestamptz", "now()"))
"""Table `ledger_schema` counts those applied."""

_TYPES = {"str": "text", "str | None": "text", "int": "bigint", "Decimal": "numeric"}


def _insert_into(kind: type[Row]) -> str:
    names = ", ".join(COLUMNS[kind])
    types = ["timestamptz" if field.name.endswith("_ms") else _TYPES[str(field.type)] for field in fields(kind)]
    lists = ", ".join(f"${at}::{type_}[]" for at, type_ in enumerate(types, 1))
    return (
        f"INSERT INTO {TABLES[kind]} ({names}) SELECT * FROM unnest({lists}) ON CONFLICT (id) DO NOTHING RETURNING id"
    )


_INSERTS = {kind: _insert_into(kind) for kind in TABLES}
_ADVANCE = """INSERT INTO ledger_offsets VALUES ($1, $2, $3) ON CONFLICT (topic, partition)
    DO UPDATE SET next_offset = greatest(ledger_offsets.next_offset, excluded.next_offset)"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


_STORED = Codec(time=lambda at_ms: _EPOCH + at_ms * _MS, money=lambda amount: amount)
_READ = Codec(time=lambda at: (at - _EPOCH) // _MS, money=lambda amount: amount)


class PostgresLedger(Ledger):
    """`Ledger` in the database that `url` names, in its default schema."""

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        super().__init__(_STORED, _READ, "= ANY($1::text[])")
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
                for kind in TABLES:
                    # Sorted: two writers that (wrongly) hold the same rows from different partitions lock in one order.
                    ids = sorted(id_ for id_, row in by_id.items() if isinstance(row, kind))
                    new += await self._insert(connection, kind, {id_: by_id[id_] for id_ in ids}) if ids else 0
                return new

        return await self._opened.run(write)

    async def _ask(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return await self._opened.run(lambda connection: ask(connection, query, *parameters))

    def _ids(self, ids: Sequence[str]) -> list[str]:
        return [*ids]

    async def _insert(self, connection: Connection, kind: type[Row], by_id: dict[str, Row]) -> int:
        columns = zip(*(self._columns(row) for row in by_id.values()), strict=True)
        inserted = {row[0] for row in await ask(connection, _INSERTS[kind], *map(list, columns))}
        known = [id_ for id_ in by_id if id_ not in inserted]
        query = f"SELECT id, event FROM {TABLES[kind]} WHERE id = ANY($1::text[])"
        for id_, event in await ask(connection, query, known) if known else ():
            check_same(by_id[id_], event)
        return len(inserted)

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
        raise not_ready("database", version, len(MIGRATIONS))
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        for statement in migration:
            await ask(connection, statement)
        await ask(connection, "INSERT INTO ledger_schema VALUES ($1)", number)


async def _check_schema(connection: Connection) -> None:
    there = await value(connection, "SELECT to_regclass('ledger_schema')")
    version = await value(connection, "SELECT max(version) FROM ledger_schema") if there is not None else None
    if version != len(MIGRATIONS):
        raise not_ready("database", version, len(MIGRATIONS))
