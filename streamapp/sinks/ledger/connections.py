"""Connections to PostgreSQL, directly or through PgBouncer in transaction mode.

libpq reads the URL and connects, so every parameter means what it means to `psql`. Nothing here needs a session: each
call of `run` is one statement or one transaction, no statement is prepared by name, nothing is SET, no cursor or lock
outlives its transaction. Between two transactions a pooler may give the connection another server.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from streamapp.errors import Misconfigured, Unavailable

CONNECTIONS_MAX = 4  # one writes, pages may read
CONNECT_SECONDS_MIN = 2.0  # libpq's
VARIABLE = "STREAM_LEDGER_URL"

Answer = TypeVar("Answer")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

IGNORED = frozenset(
    (
        *("pgbouncer", "connection_limit", "pool_timeout", "pool_size", "socket_timeout", "statement_cache_size"),
        *("prepareThreshold", "prepared_statement_cache_size", "prepared_statements", "supa", "uselibpqcompat"),
    )
)
"""Parameters of other drivers that hosters put into their URLs. They tune those drivers and mean nothing here."""

_ENCODE = "write special characters of user and password percent-encoded (@ is %40, / is %2F, # is %23)"
# What libpq says of a connection that no retry mends. It keeps no SQLSTATE of a refused connection, only the text.
_REFUSED = re.compile(
    r"authentication failed|authentication method|no pg_hba\.conf entry|pg_hba\.conf rejects|is not permitted to log in"
    r"|(?:role|database|user) \"?[^\"]*\"? does not exist|no such (?:database|user)|permission denied for database"
    r"|startup parameter|no password supplied|channel binding (?:required|is required)|server does not support SSL"
    r"|SSL is (?:not enabled|required)|certificate|private key|definition of service|service file"
    r"|invalid (?:\S+ )?(?:value|port|integer|connection option)|invalid port|could not match \d+"
    r"|not supported by this build|weak sslmode",
    re.IGNORECASE,
)
_WRONG = (errors.InvalidAuthorizationSpecification, errors.InvalidCatalogName, errors.InsufficientPrivilege)
_GONE = (errors.UndefinedTable, errors.UndefinedColumn)
_AWAY = (
    OSError,
    TimeoutError,
    psycopg.OperationalError,  # the connection is lost, starting up, too many connections, deadlock, disk full
    psycopg.InterfaceError,  # the connection was closed under us
    errors.ReadOnlySqlTransaction,  # a stand-by: the primary has moved
)


def usable(url: str) -> str:
    """The URL as libpq takes it: without the parameters in `IGNORED`. Raises `Misconfigured`, without a secret in the
    message, for a URL that libpq cannot read, an unknown parameter, and a file that is named and not there."""
    base, mark, query = url.partition("?")
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in IGNORED]
    cleaned = base + (mark + "&".join(kept) if any(kept) else "")
    try:
        parameters = conninfo_to_dict(cleaned)
    except psycopg.ProgrammingError as error:
        raise Misconfigured(f"{VARIABLE} is not a usable PostgreSQL URL: {_parse_error(str(error))}") from None
    hosts, ports = str(parameters.get("host") or ""), str(parameters.get("port") or "")
    # Either may be a piece of a password that was not encoded: neither is shown.
    if "@" in hosts or not re.fullmatch(r"[\d,]*", ports):
        raise Misconfigured(f"{VARIABLE} is not a usable PostgreSQL URL: host or port cannot be read; {_ENCODE}")
    _check_files(parameters)
    return cleaned


class Postgres:
    """At most `CONNECTIONS_MAX` connections to the database of `url`.

    Raises `Misconfigured` when the database refuses and asking again does not help, `Unavailable` when it may. No
    message shows the URL: it holds the password.
    """

    def __init__(self, url: str, answer_seconds: float) -> None:
        """`answer_seconds`: for connecting, unless the URL has `connect_timeout`, and for each call of `run`."""
        self._url, self._answer_seconds = url, answer_seconds
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._closed = False

    async def run(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """What `work` returns, given a connection in autocommit mode. It may have its own transaction."""
        assert not self._closed, "open() comes first"
        async with self._free:
            with _translating():
                connection = await self._take()
                try:
                    return await self._bounded(connection, work)
                except _AWAY:
                    await self._drop_idle()  # what cut one connection has mostly cut all
                    raise
                finally:
                    await self._give_back(connection)

    async def close(self) -> None:
        """Let go of the database. Twice is fine."""
        self._closed = True
        await self._drop_idle()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        cleaned = usable(self._url)
        own_timeout = conninfo_to_dict(cleaned).get("connect_timeout")
        return await psycopg.AsyncConnection.connect(
            cleaned,
            autocommit=True,
            prepare_threshold=None,  # no statement has a name: PgBouncer may give the next one to another server
            cursor_factory=psycopg.AsyncRawCursor,
            client_encoding="UTF8",
            fallback_application_name="billing-ledger",
            connect_timeout=own_timeout or int(max(CONNECT_SECONDS_MIN, self._answer_seconds)),
        )

    async def _bounded(self, connection: Connection, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Neither a server that is silent nor a caller that leaves may hold us: the line is cut, which ends `work`."""
        working = asyncio.ensure_future(work(connection))
        try:
            await asyncio.wait({working}, timeout=self._answer_seconds)
            if not working.done():
                raise TimeoutError(f"nothing for {self._answer_seconds:g} s")
            return working.result()
        finally:
            if not working.done():
                _cut(connection)
                await asyncio.wait({working})
                working.exception()

    async def _give_back(self, connection: Connection) -> None:
        usable_again = not connection.closed and not connection.broken
        if usable_again and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self._idle.append(connection)
        if self._closed or connection not in self._idle:
            await connection.close()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def ask(connection: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of one statement; its parameters are $1, $2, …"""
    # Binary: times do not depend on the session's DateStyle.
    cursor = await connection.execute(query.encode(), parameters or None, binary=True)
    return await cursor.fetchall() if cursor.description is not None else []


async def value(connection: Connection, query: str, *parameters: object) -> Any:
    """The first column of the first row of a statement, or None."""
    rows = await ask(connection, query, *parameters)
    return rows[0][0] if rows else None


def _cut(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _parse_error(said: str) -> str:
    """What is wrong with a URL, without its values: they may be pieces of a password."""
    unknown = re.search(r'invalid URI query parameter: "([\w.-]*)"', said)
    if unknown is not None:
        return f"libpq has no parameter {unknown[1]}; remove it from the URL"
    return f"libpq cannot read it; {_ENCODE}"


def _check_files(parameters: dict[str, Any]) -> None:
    """libpq looks at a certificate only after it has found the host, and passes over some that are not there."""
    mode = parameters.get("sslmode") or ""
    named = [] if mode == "disable" else ["sslcert", "sslkey"]
    if mode.startswith("verify-") and parameters.get("sslrootcert") != "system":
        named.append("sslrootcert")
    for name in named:
        path = parameters.get(name)
        engine = name == "sslkey" and ":" in str(path)  # engine:key, a key in hardware
        if path and not engine and not Path(path).is_file():
            raise Misconfigured(f"{VARIABLE}: {name} names {path}, and there is no such file; correct the path")


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except _WRONG as error:
        raise Misconfigured(f"{VARIABLE}: PostgreSQL refuses: {_line(error)}") from error
    except _GONE as error:
        raise Misconfigured(
            f"the ledger's database has lost a part of its schema: {_line(error)}; restore it from a backup, or drop "
            "all tables of the ledger, ledger_schema too: billing-ledger makes them again and fills them from the topic"
        ) from error
    except _AWAY as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None and _REFUSED.search(str(error)):
            raise Misconfigured(f"{VARIABLE}: PostgreSQL refuses: {_line(error)}") from error
        raise Unavailable(f"the ledger's PostgreSQL does not answer: {type(error).__name__} {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
