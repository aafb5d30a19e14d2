"""The ledger in one SQLite file: for one host, and for tests. All work runs in one thread, so no event loop waits."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from streamapp.errors import Misconfigured, Unavailable
from streamapp.schemas.values.money import money_of, money_text
from streamapp.schemas.values.timestamp import format_ms, written_ms
from streamapp.sinks.ledger.database import COLUMNS, TABLES, Codec, Ledger, check_same, new_ids, not_ready
from streamapp.sinks.ledger.rows import Row
from streamapp.sinks.ledger.schema import Words, versions

BUSY_SECONDS = 10.0  # how long another writer may hold the file; its transactions take milliseconds

_NOW = "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
MIGRATIONS = versions(Words("TEXT", "TEXT", "INTEGER", "INTEGER", "TEXT", "TEXT", _NOW, " WITHOUT ROWID"))
"""`PRAGMA user_version` counts those applied."""

_INSERTS = {
    kind: f"INSERT INTO {table} ({', '.join(COLUMNS[kind])}) VALUES ({', '.join('?' for _ in COLUMNS[kind])}) "
    "ON CONFLICT (id) DO NOTHING"
    for kind, table in TABLES.items()
}
_ADVANCE = """INSERT INTO ledger_offsets VALUES (?, ?, ?) ON CONFLICT (topic, partition)
    DO UPDATE SET next_offset = max(next_offset, excluded.next_offset)"""
_STORED = Codec(time=format_ms, money=money_text)  # text: SQLite's numbers are binary floats

Answer = TypeVar("Answer")


class SqliteLedger(Ledger):
    """`Ledger` in the file `path`, which is made with its folder if it is not there."""

    def __init__(self, path: str, busy_seconds: float = BUSY_SECONDS) -> None:
        super().__init__(_STORED, Codec(written_ms, money_of), "IN (SELECT value FROM json_each($1))")
        self._path = Path(path)
        self._busy_seconds = busy_seconds
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self, *, create: bool = True) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        try:
            await self._run(self._open if create else self._open_to_read)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._thread is not None:
            await self._run(self._close)
            self._thread.shutdown()
            self._thread = None

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        return await self._run(lambda: self._apply(topic, partition, next_offset, rows))

    async def _ask(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        named = {str(number): value for number, value in enumerate(parameters, 1)}
        return await self._run(lambda: self._open_connection.execute(query, named).fetchall())

    def _ids(self, ids: Sequence[str]) -> str:
        return json.dumps([*ids])

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        assert self._thread is not None, "open() comes first"
        # A cancelled caller does not stop the thread: the transaction ends by itself, and doing it again is harmless.
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._translating, work)

    def _translating(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise Misconfigured(f"STREAM_LEDGER_URL: {self._path} cannot be written: {error}") from error
            raise Unavailable(f"the ledger {self._path} does not answer: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Misconfigured(f"the ledger {self._path} is not usable: {error}") from error

    @property
    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(f"STREAM_LEDGER_URL: {self._path.parent} cannot be made: {error}") from error
        self._connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
        with self._writing() as connection:
            self._migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # Not FULL: a power cut may then undo the last transactions, but each as a whole, rows and offset together, and
        # the log gives them again. It saves an fsync per chunk.
        connection.execute("PRAGMA synchronous = NORMAL")

    def _open_to_read(self) -> None:
        if not self._path.exists():
            raise not_ready(str(self._path), None, len(MIGRATIONS))
        self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", self._busy_seconds, uri=True)
        self._connection.execute("PRAGMA query_only = ON")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != len(MIGRATIONS):
            raise not_ready(str(self._path), version, len(MIGRATIONS))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise not_ready(str(self._path), version, len(MIGRATIONS))
        for statement in (statement for migration in MIGRATIONS[version:] for statement in migration):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection
        # IMMEDIATE: the lock is taken before anything is read, so two writers wait for each other instead of failing.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Row]) -> int:
        by_id = new_ids(rows)
        new = 0
        with self._writing() as connection:
            for row in by_id.values():
                inserted = connection.execute(_INSERTS[type(row)], self._columns(row)).rowcount
                new += inserted
                if not inserted:
                    known = f"SELECT event FROM {TABLES[type(row)]} WHERE id = ?"
                    check_same(row, connection.execute(known, (row.id,)).fetchone()[0])
            connection.execute(_ADVANCE, (topic, partition, next_offset))
        return new
