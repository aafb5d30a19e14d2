"""An answer other than the page."""

from __future__ import annotations

from collections.abc import Mapping


class Problem(Exception):
    """An answer other than the page: `advice` says what to do."""

    def __init__(
        self, status: int, title: str, advice: str, command: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.advice, self.command = status, title, advice, command
        self.headers = dict(headers or {})
