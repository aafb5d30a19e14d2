"""What the schema registry serves, as the pages ask for it."""

from __future__ import annotations

import msgspec

from streamapp.web.pages.asked import asked
from streamapp.web.peers import Sign, unsigned


class Registered(msgspec.Struct, frozen=True):
    """A version that the registry serves."""

    subject: str
    version: int
    id: int


async def ask_registry(url: str, timeout_s: float, sign: Sign = unsigned) -> list[Registered]:
    """What the registry at `url` serves; only the newest version of each subject, because older ones add up. Raises
    `Unavailable`."""
    return await asked(url.rstrip("/") + "/schemas?latestOnly=true", list[Registered], timeout_s, sign)
