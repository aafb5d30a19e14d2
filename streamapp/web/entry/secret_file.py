"""A file that may change while the process runs, as mounted secrets do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from streamapp.errors import Misconfigured

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORTEST = 16  # characters of a secret


class SecretFile(Generic[T]):
    """What `read` makes of the file's text; read again when the file changes.

    A file that is not usable is `Misconfigured` at first; later it is logged, and what it said before stays.
    """

    def __init__(self, variable: str, path: Path, read: Callable[[str], T]) -> None:
        self._variable, self._path, self._read = variable, path, read
        self._seen = self._stat()
        self._value = self._load()

    @property
    def value(self) -> T:
        """What the file says now."""
        try:
            seen = self._stat()
            if seen != self._seen:
                self._seen = seen
                self._value = self._load()
        except Misconfigured as error:
            log.error("%s; what it said before stays in force", error)
        return self._value

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise Misconfigured(f"{self._variable}={self._path} cannot be read: {error.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self) -> T:
        try:
            return self._read(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            raise Misconfigured(f"{self._variable}={self._path} cannot be read: {error.strerror}") from None
        except ValueError as error:  # its message must not quote a secret
            raise Misconfigured(f"{self._variable}={self._path} is not usable: {error}") from None


def secrets(text: str) -> tuple[bytes, ...]:
    """The secrets of a text, one a line: the first is the one to use, all are accepted. Raises ValueError."""
    found = tuple(line.strip().encode() for line in text.splitlines() if line.strip())
    if not found:
        raise ValueError("it is empty; write the secret on its first line")
    if any(len(one) < SHORTEST for one in found):
        raise ValueError(f"a secret in it is shorter than {SHORTEST} characters; make one with `openssl rand -hex 32`")
    return found
