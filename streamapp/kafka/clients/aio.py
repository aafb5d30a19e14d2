"""aiokafka's side of what every Kafka client has: its settings, its logins, the rights that its errors are about.

Producers outside of a worker use librdkafka alone and must not import this module (docs/adr/0052): a gateway that sends
events installs no aiokafka.

A broker may end a session after `connections.max.reauth.ms`. aiokafka (0.14) does not log in again: the broker then
closes the connection, perhaps in the middle of a transaction, and the worker ends. `Again` logs in on the same
connection before that (KIP-368): nothing is interrupted, and a password that was taken away ends the session.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiokafka import conn, errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest
from pydantic import SecretStr

from streamapp.access.acl import CLUSTER
from streamapp.errors import Denied
from streamapp.kafka.clients.login import FilePassword
from streamapp.kafka.clients.security import SSL_FILES, check, password, ssl_context
from streamapp.kafka.trouble import Right, lacks
from streamapp.settings import KafkaSettings

SESSION_SHARE = 0.8  # of a session: then it is time for the next one

# aiokafka asks for new brokers only those that it knows. With its default of five minutes a worker would know the first
# broker alone for so long after a cluster grew, and could not go on without it.
METADATA_MS = 30_000


def aiokafka_config(kafka: KafkaSettings) -> dict[str, Any]:
    """The same as keyword arguments of aiokafka's clients. Raises `Misconfigured`."""
    check(kafka)
    config: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "metadata_max_age_ms": METADATA_MS,
    }
    if kafka.security_protocol != "PLAINTEXT":
        config["ssl_context"] = ssl_context(kafka)
    if kafka.sasl_username is not None:
        config["sasl_mechanism"] = "PLAIN"
        config["sasl_plain_username"] = kafka.sasl_username
        config["sasl_plain_password"] = password(kafka)
    return config


@asynccontextmanager
async def asking(config: Mapping[str, Any], timeout_s: float) -> AsyncIterator[Any]:
    """aiokafka's bare client, for a few questions. `config`: as `aiokafka_config` makes it; `timeout_s`: of a request.
    Raises aiokafka's errors."""
    client = AIOKafkaClient(**config, request_timeout_ms=max(1, round(timeout_s * 1000)))
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()


def same_for_aiokafka(config: Mapping[str, Any]) -> dict[str, Any]:
    """Where `confluent_config` leads, as keyword arguments of aiokafka's clients; what else is in it is left out."""
    secrets = {"sasl_password": config.get("sasl.password"), "ssl_key_password": config.get("ssl.key.password")}
    files = {field: Path(config[name]) for name, field in SSL_FILES if name in config}
    kafka = KafkaSettings(
        bootstrap_servers=config["bootstrap.servers"],
        security_protocol=config.get("security.protocol", "PLAINTEXT"),
        allow_plaintext=True,  # asked when `config` was made
        sasl_username=config.get("sasl.username"),
        **{name: None if secret is None else SecretStr(secret) for name, secret in secrets.items()},
        **files,
    )
    return aiokafka_config(kafka)


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


def behind(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The first of these kinds among an error and its causes, which may be a circle."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        if isinstance(error, kinds):
            return error
        seen.add(id(error))
        error = error.__cause__
    return None


def denied(error: BaseException, user: str | None, operation: str) -> BaseException:
    """An error of aiokafka's about a missing right, as `Denied` that names it; any other as it is. `operation`: what
    was being done to a topic, READ or WRITE; a group is always read, and a transactional id written."""
    if (told := behind(error, _DENIALS)) is None:
        return error
    kind, verb = _DENIED[next(known for known in _DENIALS if isinstance(told, known))]
    name = CLUSTER if kind == "cluster" else _name(told.args)
    return Denied(lacks(user, Right(verb or operation, kind, name)))


@contextmanager
def naming_rights(user: str | None, operation: str) -> Iterator[None]:
    """Raises what `denied` makes of an error of the block."""
    try:
        yield
    except errors.KafkaError as error:
        told = denied(error, user, operation)
        if told is error:
            raise
        raise told from None


_DENIED: dict[Any, tuple[str, str]] = {
    errors.TopicAuthorizationFailedError: ("topic", ""),
    errors.GroupAuthorizationFailedError: ("group", "READ"),
    errors.TransactionalIdAuthorizationFailed: ("transactional_id", "WRITE"),
    errors.ClusterAuthorizationFailedError: ("cluster", ""),
}
_DENIALS = tuple(_DENIED)


def _name(said: tuple[Any, ...]) -> str:
    """The resource that an error of aiokafka's is about: a name, or a set of names."""
    names = said[0] if said else "?"
    return names if isinstance(names, str) else ", ".join(sorted(map(str, names)))
