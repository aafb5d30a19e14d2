"""What workers ask each other is signed: for whom it is asked, with a secret that never travels.

A seal is good for ten seconds, for one question, once. The peer decides by the roles of the person.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path

import msgspec

from streamapp.clock import Clock, Entropy
from streamapp.errors import Misconfigured
from streamapp.settings.web import WebSettings
from streamapp.web.entry.identity import Asker
from streamapp.web.entry.rights import ROLES, Role
from streamapp.web.entry.secret_file import SecretFile, secrets
from streamapp.web.problem import Problem

SEAL_HEADER = "X-Stream-Seal"
GOOD_MS = 10_000
NONCE_BYTES = 16

WORKER = Asker("worker", frozenset({"viewer"}))
"""A worker that asks on its own behalf: for metrics, and for what it keeps ready for its pages."""

ASKING: ContextVar[Asker] = ContextVar("asking", default=WORKER)
"""For whom this task works."""

Sign = Callable[[str], Mapping[str, str]]
"""Path and query of a question → the headers that seal it."""


def unsigned(path: str) -> Mapping[str, str]:
    """For workers that everybody on this host may ask. The header alone says that no page of another site asks: a
    browser sends it for none, unless the asked server agrees, and ours never do."""
    return {SEAL_HEADER: "none"}


class _Said(msgspec.Struct, array_like=True):
    name: str
    roles: list[Role]
    at_ms: int
    nonce: str


class Seals:
    """Makes and opens seals. `keys` gives the secrets: the first signs, all are accepted."""

    def __init__(self, keys: Callable[[], tuple[bytes, ...]], clock: Clock, entropy: Entropy) -> None:
        self._keys, self._clock, self._entropy = keys, clock, entropy
        self._opened: dict[str, int] = {}  # nonce → when it is forgotten

    def sign(self, path: str) -> Mapping[str, str]:
        """The headers for a question of whoever this task works for."""
        asker = ASKING.get()
        said = _Said(asker.name, sorted(asker.roles), self._clock(), self._entropy(NONCE_BYTES).hex())
        body = msgspec.json.encode(said)
        return {SEAL_HEADER: f"{urlsafe_b64encode(body).decode()}.{_mac(self._keys()[0], body, path)}"}

    def open(self, seal: str, path: str) -> Asker:
        """For whom a question is asked. Raises `Problem` 401 for a seal that is not of ours, old, or used."""
        text, _, mac = seal.partition(".")
        try:
            body = urlsafe_b64decode(text.encode())
            good = [hmac.compare_digest(_mac(key, body, path).encode(), mac.encode()) for key in self._keys()]
            if not any(good):
                raise ValueError
            said = msgspec.json.decode(body, type=_Said)
        except (ValueError, msgspec.MsgspecError):
            raise _refused("it is not signed with STREAM_WEB__PEER_TOKEN") from None
        now_ms = self._clock()
        if abs(now_ms - said.at_ms) > GOOD_MS:
            raise _refused("it is older than ten seconds, or the clocks of the hosts differ")
        if said.nonce in self._opened:
            raise _refused("it was asked already")
        for nonce in list(takewhile(lambda one: self._opened[one] < now_ms, self._opened)):
            del self._opened[nonce]
        self._opened[said.nonce] = said.at_ms + GOOD_MS
        return Asker(said.name, frozenset(said.roles) & ROLES.keys(), peer=True)


def keys_of(web: WebSettings) -> Callable[[], tuple[bytes, ...]] | None:
    """The secrets of the settings; None when there are none. Raises `Misconfigured`."""
    if web.peer_token_file is not None:
        file = SecretFile("STREAM_WEB__PEER_TOKEN_FILE", Path(web.peer_token_file), secrets)
        return lambda: file.value
    if web.peer_token is None:
        return None
    try:
        token = secrets(web.peer_token.get_secret_value())
    except ValueError as error:
        raise Misconfigured(f"STREAM_WEB__PEER_TOKEN is not usable: {error}") from None
    return lambda: token


def _mac(key: bytes, body: bytes, path: str) -> str:
    return hmac.new(
        key, b"stream-peer-1\n" + body + b"\n" + path.encode("utf-8", "surrogateescape"), "sha256"
    ).hexdigest()


def _refused(why: str) -> Problem:
    advice = f"The question of another worker is refused: {why}."
    return Problem(401, "No worker of this fleet asks", advice, headers={"WWW-Authenticate": "Stream-Seal"})
