"""Who belongs to whom: team → org, capture token → team (decision 24). One small interface, one file behind it."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from streamapp.directory.index import SAME, make
from streamapp.errors import Misconfigured

log = logging.getLogger(__name__)


class Limit(NamedTuple):
    """What a team may spend in a UTC month. `kind`: soft or hard."""

    kind: str
    amount: Decimal
    currency: str


SMALL_BYTES = 64 << 10  # read within milliseconds: not worth a process
REMEMBERED = 10_000  # answers of each kind that are not looked up again


class Directory(Protocol):
    """What the system asks about teams."""

    def org_of(self, team: str) -> str | None:
        """The org a team belongs to, or None."""

    def team_of(self, token: str) -> str | None:
        """The team a capture token belongs to, or None."""

    def quota_of(self, team: str) -> float | None:
        """Events per second that a team may send, or None: as many as it likes."""

    def limits_of(self, team: str) -> tuple[Limit, ...]:
        """What a team may spend in a month, the lowest amount first (docs/adr/0050)."""

    def has_limits(self) -> bool:
        """Whether any team has a limit."""

    def version(self) -> int:
        """Another number when the answers may be others than before."""

    def first(self, count: int) -> dict[str, str]:
        """The first `count` teams by name, each with its org."""

    def refresh(self) -> None:
        """Wait until the answers are those of the file as it is now. One that cannot be used changes nothing."""


class EmptyDirectory:
    """Knows nobody: what a system without `STREAM_DIRECTORY` uses."""

    def org_of(self, team: str) -> str | None:
        return None

    def team_of(self, token: str) -> str | None:
        return None

    def quota_of(self, team: str) -> float | None:
        return None

    def limits_of(self, team: str) -> tuple[Limit, ...]:
        return ()

    def has_limits(self) -> bool:
        return False

    def version(self) -> int:
        return 0

    def first(self, count: int) -> dict[str, str]:
        return {}

    def refresh(self) -> None:
        pass


class FileDirectory:
    """A TOML file, read again when it changes:

        [teams.team_abc123]
        org = "org_hanzo"
        tokens = ["ha_…"]
        quota_per_second = 1000    # optional; each capture process lets through so many
        budget_soft = { USD = "80" }                     # optional; by currency, what the team may spend in a
        budget_hard = { USD = "100.50", EUR = "90" }     # month: crossing it is stated

    A process beside this one reads it, unless it is small, and makes an index, where each answer is looked up by its
    key: the memory of a worker does not grow with the directory, and no caller waits while a new version is read. Only
    the constructor and `refresh` wait. The constructor raises `Misconfigured` when the file cannot be read; a later
    broken version is reported and the last good one stays in force.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._index: _Index | None = None
        self._reading: _Reading | None = None
        self._version = 0
        try:
            self._start()
        except OSError as error:
            raise Misconfigured(f"STREAM_DIRECTORY={path} cannot be used: {error}") from None
        self._finish()

    def org_of(self, team: str) -> str | None:
        return self._current().org_of(team)

    def team_of(self, token: str) -> str | None:
        return self._current().team_of(token)

    def quota_of(self, team: str) -> float | None:
        return self._current().quota_of(team)

    def limits_of(self, team: str) -> tuple[Limit, ...]:
        return self._current().limits_of(team)

    def has_limits(self) -> bool:
        return self._current().has_limits

    def version(self) -> int:
        self._current()
        return self._version

    def first(self, count: int) -> dict[str, str]:
        return self._current().first(count)

    def refresh(self) -> None:
        self._current()
        while self._reading is not None:
            self._reading.wait()
            self._current()  # takes it
            self._current()  # begins the next one, if the file has changed meanwhile

    @property
    def is_reading(self) -> bool:
        """Whether a newer version is on its way, and the answers are still those of the one before."""
        self._current()
        return self._reading is not None

    def _current(self) -> _Index:
        try:
            if self._reading is None and _stamp(self._path) != self._stamp:
                self._start()
            if self._reading is not None and self._reading.is_over:
                self._finish()
        except (Misconfigured, OSError) as error:
            log.warning("the team directory stays as it was: %s", error)
        assert self._index is not None
        return self._index

    def _start(self) -> None:
        self._stamp = _stamp(self._path)  # a broken version is reported once
        self._reading = _Reading(self._path, None if self._index is None else self._index.digest)

    def _finish(self) -> None:
        reading, self._reading = self._reading, None
        assert reading is not None
        index = reading.index()
        if index is not None:
            self._index = index
            self._version += 1


class _Reading:
    """The index of the file as it is now, in the making: by a process of its own, unless the file is small."""

    def __init__(self, path: Path, known: str | None) -> None:
        self._path = path
        self._folder = Path(tempfile.mkdtemp(prefix="streamapp-directory-"))  # its tokens are for this user alone
        index = self._folder / "index"
        self._process: subprocess.Popen[str] | None = None
        self._made = 0, ""
        if path.exists() and path.stat().st_size > SMALL_BYTES:
            command = [sys.executable, "-m", "streamapp.directory.index", str(path), str(index)]
            self._process = subprocess.Popen(
                [*command, *filter(None, [known])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        else:
            self._made = make(path, index, known)

    @property
    def is_over(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def wait(self) -> None:
        if self._process is not None:
            self._process.wait()

    def index(self) -> _Index | None:
        """What was made; None when the file has the same bytes as before. Waits for it. Raises `Misconfigured`."""
        try:
            code, said = self._made
            if self._process is not None:
                said, _ = self._process.communicate()
                code = self._process.returncode
            if code == SAME:
                return None
            if code != 0:
                why = said or f"its reader ended with {code}"
                raise Misconfigured(f"STREAM_DIRECTORY={self._path} cannot be used: {why}")
            return _Index(self._folder / "index", said)
        finally:
            shutil.rmtree(self._folder)  # what is open stays readable until it is closed


class _Index:
    """An open index. It has no name any more: it goes with the process, however that ends."""

    def __init__(self, path: Path, digest: str) -> None:
        self.digest = digest
        self._database = sqlite3.connect(f"file:{path}?immutable=1", uri=True, check_same_thread=False)
        self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the file
        self.org_of: Callable[[str], str | None] = lru_cache(REMEMBERED)(
            lambda team: self._one("SELECT org FROM teams WHERE team = ?", team)
        )
        self.team_of: Callable[[str], str | None] = lru_cache(REMEMBERED)(
            lambda token: self._one("SELECT team FROM tokens WHERE token = ?", token)
        )
        self.quota_of: Callable[[str], float | None] = lru_cache(REMEMBERED)(
            lambda team: self._one("SELECT quota FROM teams WHERE team = ?", team)
        )
        self.limits_of: Callable[[str], tuple[Limit, ...]] = lru_cache(REMEMBERED)(self._limits_of)
        self.has_limits: bool = self._database.execute("SELECT EXISTS (SELECT 1 FROM limits)").fetchone()[0] == 1

    def first(self, count: int) -> dict[str, str]:
        return dict(self._database.execute("SELECT team, org FROM teams ORDER BY team LIMIT ?", (count,)).fetchall())

    def _limits_of(self, team: str) -> tuple[Limit, ...]:
        rows = self._all("SELECT kind, amount, currency FROM limits WHERE team = ?", team)
        limits = (Limit(kind, Decimal(amount), currency) for kind, amount, currency in rows)
        return tuple(sorted(limits, key=lambda limit: (limit.amount, limit.kind != "soft")))

    def _one(self, query: str, key: str) -> Any:
        rows = self._all(query, key)
        return rows[0][0] if rows else None

    def _all(self, query: str, key: str) -> list[Any]:
        try:
            return self._database.execute(query, (key,)).fetchall()
        except UnicodeEncodeError:  # half of a surrogate pair is in no file
            return []


def _stamp(path: Path) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_size


def open_directory(path: Path | None) -> Directory:
    """The directory that the setting names."""
    return EmptyDirectory() if path is None else FileDirectory(path)
