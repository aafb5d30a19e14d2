"""Logging in, again and again: a password that is read at every login, and sessions that end.

A broker may end a session after `connections.max.reauth.ms`. aiokafka (0.14) does not log in again: the broker then
closes the connection, perhaps in the middle of a transaction, and the worker ends. `Again` logs in on the same
connection before that (KIP-368): nothing is interrupted, and a password that was taken away ends the session.

librdkafka connects anew instead, which its idempotent producers survive. Each client that `connected` makes is told a
new password within `WATCH_S` of its file's change, and logs in with it from its next connection on.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import conn, errors
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest
from confluent_kafka import KafkaError

from streamapp.errors import Misconfigured

Client = TypeVar("Client")

WATCH_S = 1.0
SESSION_SHARE = 0.8  # of a session: then it is time for the next one


class FilePassword(str):
    """The password as the file held it when this was made; `now` asks again."""

    file: Path

    def __new__(cls, file: Path) -> FilePassword:
        """Raises `Misconfigured` for a file that cannot be read or is empty."""
        made = super().__new__(cls, _read(file))
        made.file = file
        return made

    def now(self) -> str:
        """What the file says now, or said first while it cannot be read."""
        try:
            return _read(self.file)
        except Misconfigured:
            return str(self)


def _read(file: Path) -> str:
    try:
        password = file.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"STREAM_KAFKA__SASL_PASSWORD_FILE={file} cannot be read: {error}") from None
    if not password:
        raise Misconfigured(f"STREAM_KAFKA__SASL_PASSWORD_FILE={file} is empty")
    return password


class Again(conn.AIOKafkaConnection):  # type: ignore[misc]
    """A connection of aiokafka's that keeps its session alive."""

    _next_login: asyncio.TimerHandle | None = None
    _logging_in: asyncio.Future[None] | None = None  # kept, or the event loop forgets it

    def authenticator_plain(self) -> Any:
        password = self._sasl_plain_password
        return conn.SaslPlainAuthenticator(
            loop=self._loop,
            sasl_plain_username=self._sasl_plain_username,
            sasl_plain_password=password.now() if isinstance(password, FilePassword) else password,
        )

    def send(self, request: Any, expect_response: bool = True) -> Any:
        answer = super().send(request, expect_response)
        return self._told_how_long(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _told_how_long(self, answer: Awaitable[Any]) -> Any:
        response = await answer
        lifetime_ms = getattr(response, "session_lifetime_ms", 0)
        if lifetime_ms > 0 and response.error_code == 0 and self._sasl_mechanism == "PLAIN":
            wait_s = lifetime_ms * SESSION_SHARE / 1000
            self._next_login = self._loop.call_later(wait_s, _begin_again, weakref.ref(self))
        return response

    async def log_in_again(self) -> None:
        """Both requests are sent at once: until the broker has seen the second it takes no other."""
        try:
            words, _ = await self.authenticator_plain().step(None)
            shaken = self.send(SaslHandShakeRequest(self._sasl_mechanism))
            let_in = self.send(SaslAuthenticateRequest(words))
            for response in (await shaken, await let_in):
                if response.error_code:
                    raise errors.for_code(response.error_code)(getattr(response, "error_message", ""))
        except (TimeoutError, errors.KafkaError, OSError) as error:
            self.close(reason=conn.CloseReason.AUTH_FAILURE, exc=error)

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        if self._next_login is not None:
            self._next_login.cancel()
            self._next_login = None
        return super().close(reason, exc)


def _begin_again(reference: weakref.ref[Again]) -> None:
    connection = reference()
    if connection is not None and connection.connected():
        connection._logging_in = asyncio.ensure_future(connection.log_in_again())


conn.AIOKafkaConnection = Again


def connected(
    make: Callable[[dict[str, Any]], Client],
    config: Mapping[str, Any],
    told: Callable[[KafkaError], None] | None = None,
) -> Client:
    """A librdkafka client that logs in with the password as its file has it then. `told` hears of each of its errors,
    in a thread that polls the client."""
    given = dict(config) if told is None else {**config, "error_cb": told}
    password = config.get("sasl.password")
    if not isinstance(password, FilePassword):
        return make(given)
    now = password.now()
    client = _weakly(make)({**given, "sasl.password": now})
    _watch.add(client, config["sasl.username"], password, now)
    return client  # type: ignore[no-any-return]


@cache
def _weakly(kind: Any) -> Any:
    """The class, with instances that can be referred to without being kept."""
    return type(kind.__name__, (kind,), {})


class _Watch:
    """Tells clients the passwords of their files, in a thread of its own: a client that is called from one of its
    callbacks aborts the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._watched: list[tuple[weakref.ref[Any], str, FilePassword, list[str]]] = []

    def add(self, client: Any, user: str, password: FilePassword, given: str) -> None:
        with self._lock:
            self._watched.append((weakref.ref(client), user, password, [given]))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kafka-passwords", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(WATCH_S):
            with self._lock:
                self._watched = [one for one in self._watched if self._told(*one)]

    def _told(self, reference: weakref.ref[Any], user: str, password: FilePassword, given: list[str]) -> bool:
        """Tell a client what is new. False when there is none any more."""
        client = reference()
        if client is None:
            return False
        if (now := password.now()) != given[0]:
            try:
                client.set_sasl_credentials(user, now)
            except RuntimeError:  # closed
                return False
            given[0] = now
        return True


_watch = _Watch()
