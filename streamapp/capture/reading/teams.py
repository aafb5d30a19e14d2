"""Whose token it is, and what the directory says of that team. Every request asks: answers are kept for a second."""

from __future__ import annotations

from typing import Any, NamedTuple

from streamapp.capture.reading import answers
from streamapp.capture.reading.answers import Refusal
from streamapp.directory.teams import Directory

TOKEN_MAX = 64  # longer than any project token; PostHog's own limit
PERSONAL = "phx_"
KEPT_S = 1.0  # how long a change of the directory may go unnoticed
KEPT_MAX = 10_000


class Team(NamedTuple):
    """A team that may send. `key` is the record key of its events."""

    id: str
    org: str | None
    quota_per_second: float | None
    key: bytes


class Teams:
    """The directory as capture asks it."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[str, Team] = {}
        self._until_s = 0.0

    def of(self, token: Any, now_s: float) -> Team | Refusal:
        """The team of a token, or why it is refused."""
        if now_s >= self._until_s:
            self._known.clear()
            self._until_s = now_s + KEPT_S
        if type(token) is not str:
            return Refusal(answers.TOKEN_MISSING)
        team = self._known.get(token)
        return self._asked(token.strip()) if team is None else team

    def named(self, name: str) -> Team:
        """The team of this name, with what the directory knows of it."""
        return Team(name, self._directory.org_of(name), self._directory.quota_of(name), name.encode())

    def _asked(self, token: str) -> Team | Refusal:
        if not token:
            return Refusal(answers.TOKEN_MISSING)
        if token.startswith(PERSONAL):
            return Refusal(answers.TOKEN_PERSONAL)
        name = self._directory.team_of(token) if len(token) <= TOKEN_MAX and token.isascii() else None
        if name is None:
            return Refusal(answers.TOKEN_UNKNOWN)
        team = self.named(name)
        if len(self._known) < KEPT_MAX:
            self._known[token] = team
        return team
