"""ClickHouse's engine behind its HTTP interface, as far as its clients' queries and inserts need it: for one machine.

The engine (chdb) lives in one process per folder; a group of workers shares it through this. `GET /ping`; else `query`
in the address, behind it the body: the rest of the query, or the data of an `INSERT … FORMAT …`. `param_<name>` is the
value of `{<name>:Type}` in the query. Settings are the other parameters. Loopback only: there are no users and no
passwords.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import lz4.frame
import zstandard

from streamapp.extras import local

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 256 << 20

_INSERT = re.compile(r"\s*INSERT\s+INTO\s+(?P<into>.+?)\s+FORMAT\s+(?P<format>\w+)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_SETTING = re.compile(r"[a-z_][a-z0-9_]*")
_OWN_SETTINGS = re.compile(r"\bSETTINGS\s+\w+\s*=[^()]*$", re.IGNORECASE)
_VALUE = "param_"
_CODE = re.compile(r"Code: (\d+)")
_TRANSPORT = {
    "query", "query_id", "database", "session_id", "session_timeout", "session_check", "compress", "decompress",
    "wait_end_of_query", "send_progress_in_http_headers", "buffer_size", "client_protocol_version", "role",
    "enable_http_compression", "http_headers_progress_interval_ms", "default_format", "user", "password", "quota_key",
    "cancel_http_readonly_queries_on_client_close", "log_comment",
}  # fmt: skip
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


class Answer(NamedTuple):
    """What a request is told. `code` is ClickHouse's, of an error."""

    status: int
    body: bytes
    code: int | None = None


class Engine:
    """The engine in a folder, with one session a thread. Raises RuntimeError when another process has the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch = folder / "incoming"
        self._scratch.mkdir(exist_ok=True)
        for left in self._scratch.iterdir():
            left.unlink()
        self._session = local("chdb").connect(str(folder))

    def run(self, query: str, body: bytes, settings: Mapping[str, str], values: Mapping[str, str]) -> Answer:
        """Run a query; `body` belongs to it, `values` are those of its parameters."""
        insert = _INSERT.fullmatch(query)
        try:
            if insert is not None:
                return self._insert(insert["into"], insert["format"], body, settings)
            statement = query + body.decode()
            return Answer(200, self._asked(_with_settings(statement, settings), values))
        except Exception as error:
            text = str(error)
            code = _CODE.search(text)
            return Answer(500, text.encode(), int(code[1]) if code else None)

    def close(self) -> None:
        self._session.close()

    def _insert(self, into: str, format_: str, body: bytes, settings: Mapping[str, str]) -> Answer:
        with tempfile.NamedTemporaryFile(dir=self._scratch) as file:
            file.write(body)
            file.flush()
            name = file.name.replace("\\", "\\\\").replace("'", "\\'")
            clause = f" SETTINGS {_clause(settings)}" if settings else ""
            self._asked(f"INSERT INTO {into} FROM INFILE '{name}'{clause} FORMAT {format_}")
        return Answer(200, b"")

    def _asked(self, statement: str, values: Mapping[str, str] | None = None) -> bytes:
        found = _FORMAT.search(statement)
        format_ = found[1] if found else "TabSeparated"
        result: bytes = self._session.query(statement, format_, params=dict(values or {})).bytes()
        return result


def application(engine: Engine) -> Callable[..., Any]:
    """The ASGI application."""
    threads = ThreadPoolExecutor(
        max_workers=1
    )  # the engine's session takes one statement at a time; it has its threads

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        answer = await _answer(scope, receive)
        headers = [(b"content-type", b"text/plain; charset=UTF-8"), (b"x-clickhouse-timezone", b"UTC")]
        if answer.code is not None:
            headers.append((b"x-clickhouse-exception-code", str(answer.code).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(scope: Any, receive: Any) -> Answer:
        if scope["path"] == "/ping":
            return Answer(200, b"Ok.\n")
        if scope["path"] != "/":
            return Answer(404, b"There is no such page. Queries go to /.\n")
        body = await _body(receive)
        if body is None:
            return Answer(413, f"more than {BODY_BYTES_MAX >> 20} MiB in one request\n".encode())
        parameters = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        encoding = dict(scope["headers"]).get(b"content-encoding", b"").decode()
        if encoding:
            decode = _DECODERS.get(encoding)
            if decode is None:
                return Answer(400, f"content-encoding {encoding} is not known here\n".encode())
            body = decode(body)
        values = {name.removeprefix(_VALUE): text for name, text in parameters.items() if name.startswith(_VALUE)}
        other = {name: text for name, text in parameters.items() if not name.startswith(_VALUE)}
        settings = {name: text for name, text in other.items() if name not in _TRANSPORT}
        bad = [name for name in settings if not _SETTING.fullmatch(name)]
        if bad:
            return Answer(400, f"{bad[0]} is not the name of a setting\n".encode())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, engine.run, parameters.get("query", ""), body, settings, values)

    return app


async def _body(receive: Any) -> bytes | None:
    """The request's body; None when it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES_MAX:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _with_settings(statement: str, settings: Mapping[str, str]) -> str:
    if not settings or not re.match(r"\s*(SELECT|WITH)\b", statement, re.IGNORECASE):
        return statement
    found = _FORMAT.search(statement)
    query, format_ = (statement, "") if found is None else (statement[: found.start()], statement[found.start() :])
    query = query.rstrip().rstrip(";")
    joined = "," if _OWN_SETTINGS.search(query) else " SETTINGS"
    return f"{query}{joined} {_clause(settings)} {format_}"


def _clause(settings: Mapping[str, str]) -> str:
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in settings.items()}
    return ", ".join(f"{name} = '{value}'" for name, value in quoted.items())
