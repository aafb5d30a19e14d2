"""ClickHouse through its own client: a server by HTTP, or the engine inside of this process (`chdb:///folder`).

Every error of the client becomes one of our tree. What only a person can mend (a wrong password, a missing right) stops
the worker; all else is `Unavailable`: ClickHouse is asked again, nothing is dropped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streamapp.errors import Misconfigured, Unavailable
from streamapp.loopback import is_loopback
from streamapp.settings import ClickHouseSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from pyarrow import Table

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
_ADDRESS = re.compile(r"https?://[^/]+/?|chdb:///.+")

_FOR_A_PERSON = {
    # code → what to do: ClickHouse's ErrorCodes
    81: "create the database, or set STREAM_CLICKHOUSE__DATABASE",
    164: "the user may only read; grant INSERT, CREATE, ALTER and SELECT",
    192: "set STREAM_CLICKHOUSE__USERNAME",
    193: "set STREAM_CLICKHOUSE__PASSWORD",
    194: "set STREAM_CLICKHOUSE__PASSWORD",
    497: "grant the user INSERT, CREATE, ALTER and SELECT on the database",
    516: "set STREAM_CLICKHOUSE__USERNAME and STREAM_CLICKHOUSE__PASSWORD",
}


class ClickHouse:
    """One connection. Every method blocks; call them in a thread, one at a time.

    Raises `Misconfigured` for an address that is none.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        if not _ADDRESS.fullmatch(settings.url):
            raise Misconfigured(
                f"STREAM_CLICKHOUSE__URL={settings.url} is not usable: http://host:port, https://host:port or chdb:///folder"
            )
        self.settings = settings
        self.database = settings.database
        self._client: Client | None = None

    def command(self, statement: str) -> None:
        """Run a statement that returns nothing."""
        with self._asked() as client:
            client.command(statement)

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Sequence[Any]]:
        """The rows of a query."""
        with self._asked() as client:
            return list(client.query(query, parameters=dict(parameters or {})).result_rows)

    def insert(self, table: str, rows: Table, token: str) -> None:
        """Insert rows as one block for each of the table's partitions. The same token again: nothing happens."""
        options = {
            "insert_deduplication_token": token,
            "insert_deduplicate": 1,
            "async_insert": 0,
            "max_insert_block_size": max(1_048_449, rows.num_rows),
            "min_insert_block_size_rows": 0,
            "min_insert_block_size_bytes": 0,
            "max_partitions_per_insert_block": 0,  # clients' clocks are anywhere
        }
        with self._asked() as client:
            client.insert_arrow(table, rows, database=self.database, settings=options)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _asked(self) -> Iterator[Client]:
        """The client, with its errors translated. After one it connects anew."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except (ClickHouseError, OSError, RuntimeError) as error:
            self.close()
            raise self._translated(error) from error

    def _connect(self) -> Client:
        import clickhouse_connect
        from clickhouse_connect.driver.httputil import default_pool_manager

        settings, url = self.settings, self.settings.url
        if url.startswith("chdb:"):
            return clickhouse_connect.get_client(dsn=url)
        at = urlsplit(url)
        password = settings.password.get_secret_value() if settings.password else ""
        here = is_loopback(at.hostname)  # never through a proxy of the environment: it would look on its own machine
        return clickhouse_connect.get_client(
            host=at.hostname or "",
            port=at.port or (8443 if at.scheme == "https" else 8123),
            secure=at.scheme == "https",
            username=settings.username,
            password=password,
            compress=False if here else "lz4",
            pool_mgr=default_pool_manager() if here else None,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=settings.timeout_seconds,
            query_retries=0,
            autogenerate_session_id=False,
        )

    def _translated(self, error: Exception) -> Misconfigured | Unavailable:
        what = str(error).strip().split("\n")[0][:300]
        code, at = getattr(error, "code", None), urlsplit(self.settings.url)
        where = f"ClickHouse at {self.settings.url}"
        if (advice := _FOR_A_PERSON.get(code or -1)) is not None:
            return Misconfigured(f"{where} refuses: {what}; {advice}")
        if code is not None or at.scheme == "chdb":
            return Unavailable(f"{where} does not do it: {what}")
        what = "nothing listens there" if "Connection refused" in str(error) else what
        start = "; is `streamapp clickhouse` running?" if is_loopback(at.hostname) else ""
        return Unavailable(f"{where} does not answer: {what}{start}")
