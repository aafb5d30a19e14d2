"""What the schema registry serves, as the pages ask for it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from streamapp.errors import Unavailable
from streamapp.web.pages.asked import asked
from streamapp.web.peers import Sign, unsigned


class Registered(msgspec.Struct, frozen=True):
    """A version that the registry serves."""

    subject: str
    version: int
    id: int


class Subjects(Protocol):
    """Where the pages get the registry's versions from."""

    async def ask(self) -> list[Registered]:
        """Raises `Unavailable`."""


class NoSubjects:
    """For pages that are not told where the registry is."""

    async def ask(self) -> list[Registered]:
        raise Unavailable("these pages do not ask the registry")


class AskedSubjects:
    """The process at `url`. Only the newest version of each subject is asked for: older ones add up."""

    def __init__(self, url: str, timeout_s: float, sign: Sign = unsigned) -> None:
        self._url = url.rstrip("/") + "/schemas?latestOnly=true"
        self._timeout_s, self._sign = timeout_s, sign

    async def ask(self) -> list[Registered]:
        return await asked(self._url, list[Registered], self._timeout_s, self._sign)
