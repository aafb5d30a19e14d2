"""Who belongs to whom: team → org, capture token → team (decision 24). One small interface, one file behind it."""

from __future__ import annotations

import logging
import os
import tomllib
from pathlib import Path
from typing import Any, Protocol

from streamapp.errors import Misconfigured

log = logging.getLogger(__name__)


class Directory(Protocol):
    """What the system asks about teams."""

    def org_of(self, team: str) -> str | None:
        """The org a team belongs to, or None."""

    def team_of(self, token: str) -> str | None:
        """The team a capture token belongs to, or None."""

    def quota_of(self, team: str) -> float | None:
        """Events per second that a team may send, or None: as many as it likes."""


class EmptyDirectory:
    """Knows nobody: what a system without `STREAM_DIRECTORY` uses."""

    def org_of(self, team: str) -> str | None:
        return None

    def team_of(self, token: str) -> str | None:
        return None

    def quota_of(self, team: str) -> float | None:
        return None


class FileDirectory:
    """A TOML file, read again when it changes:

        [teams.team_abc123]
        org = "org_hanzo"
        tokens = ["ha_…"]
        quota_per_second = 1000    # optional; each capture process lets through so many

    Raises `Misconfigured` when the file cannot be read at first; a later broken version is reported and the last good
    one stays in force.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._orgs: dict[str, str] = {}
        self._teams: dict[str, str] = {}
        self._quotas: dict[str, float] = {}
        self._read()

    def org_of(self, team: str) -> str | None:
        self._refresh()
        return self._orgs.get(team)

    def team_of(self, token: str) -> str | None:
        self._refresh()
        return self._teams.get(token)

    def quota_of(self, team: str) -> float | None:
        self._refresh()
        return self._quotas.get(team)

    def _refresh(self) -> None:
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._stamp = stamp  # a broken version is reported once
                self._read()
        except (Misconfigured, OSError) as error:
            log.warning("the team directory stays as it was: %s", error)

    def _stat(self) -> tuple[int, int]:
        stat = os.stat(self._path)
        return stat.st_mtime_ns, stat.st_size

    def _read(self) -> None:
        try:
            stamp = self._stat()
            teams = tomllib.loads(self._path.read_text(encoding="utf-8")).get("teams", {})
            orgs, tokens = _parse(teams)
            quotas = _quotas(teams)
        except (OSError, ValueError) as error:
            raise Misconfigured(f"STREAM_DIRECTORY={self._path} cannot be used: {error}") from None
        self._stamp, self._orgs, self._teams, self._quotas = stamp, orgs, tokens, quotas


def open_directory(path: Path | None) -> Directory:
    """The directory that the setting names."""
    return EmptyDirectory() if path is None else FileDirectory(path)


def _parse(teams: Any) -> tuple[dict[str, str], dict[str, str]]:
    orgs: dict[str, str] = {}
    tokens: dict[str, str] = {}
    if not isinstance(teams, dict):
        raise ValueError("[teams] is not a table")
    for team, facts in teams.items():
        org = facts.get("org") if isinstance(facts, dict) else None
        if not isinstance(org, str) or not org:
            raise ValueError(f'[teams.{team}] needs org = "…"')
        orgs[team] = org
        for token in facts.get("tokens", []):
            if tokens.setdefault(token, team) != team:
                raise ValueError(f"a token of {team} belongs to {tokens[token]}, too")
    return orgs, tokens


def _quotas(teams: dict[str, dict[str, Any]]) -> dict[str, float]:
    quotas: dict[str, float] = {}
    for team, facts in teams.items():
        quota = facts.get("quota_per_second")
        if quota is None:
            continue
        if isinstance(quota, bool) or not isinstance(quota, int | float) or not 0 <= quota < float("inf"):
            raise ValueError(f"[teams.{team}] quota_per_second is not a number from 0 on")
        quotas[team] = float(quota)
    return quotas
