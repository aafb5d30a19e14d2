"""A password that is read at every login of a librdkafka client; of aiokafka's clients: `aio.py`.

librdkafka connects anew when a broker ends a session (`connections.max.reauth.ms`), which its idempotent producers
survive. Each client that `connected` makes is told a new password within `WATCH_S` of its file's change, and logs in
with it from its next connection on.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import KafkaError

from streamapp.errors import Misconfigured

Client = TypeVar("Client")

WATCH_S = 1.0


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
