"""Who is told of an incident: the protocol of destinations, and what they are told.

A notice carries counts, names of topics and services, a reason, the shape of an error and a link; no byte of a record.
The destinations are in `notices/destinations.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import aiohttp

from streamapp.schemas.values.timestamp import format_ms

RETRY_STATUSES = frozenset({408, 429})
RETRY_AFTER_S_MAX = 3600.0
TEXT_CHARS_MAX = 300  # of an answer that is logged


Happening = Literal["opened", "grown", "resolved"]


class Notice(NamedTuple):
    """Something that happened to an incident. The same one may arrive twice; `incident` and `kind` tell."""

    incident: str  # the same for all notices of one incident
    kind: Happening
    at_ms: int
    due_ms: int
    letters: int
    topic: str
    by: str
    reason: str
    shape: str
    link: str | None

    @property
    def summary(self) -> str:
        """One line for a person."""
        if self.kind == "resolved":
            return f"Quiet again: {self.topic} records refused by {self.by} ({self.reason}), {self.letters} in all"
        records = "1 record" if self.letters == 1 else f"{self.letters} records"
        return f"{records} of {self.topic} refused by {self.by}: {self.reason}: {self.shape}"

    def facts(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "incident": self.incident,
            "event": self.kind,
            "at": format_ms(self.at_ms),
            "letters": self.letters,
            "source_topic": self.topic,
            "refused_by": self.by,
            "reason": self.reason,
            "error": self.shape,
            "link": self.link,
        }


class Told(NamedTuple):
    """It has arrived."""


class Later(NamedTuple):
    """Not now. `after_s` None: the destination did not say when."""

    why: str
    after_s: float | None = None


class Never(NamedTuple):
    """It will not be taken, however often it is sent."""

    why: str


Answer = Told | Later | Never


class Alerts(Protocol):
    """A destination. Open it inside the loop that uses it."""

    name: str

    async def tell(self, notice: Notice) -> Answer:
        """Deliver a notice. Bad news are values; raises for faults of ours only."""

    async def close(self) -> None: ...


def session(timeout_s: float) -> aiohttp.ClientSession:
    """How destinations are reached: through the proxy that `HTTPS_PROXY` or `HTTP_PROXY` names, except for the hosts
    in `NO_PROXY`; `SSL_CERT_FILE` names the certificates that are trusted. To be made inside the loop that uses it."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=True)


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
    """POST JSON and read the answer as HTTP means it: 2xx told; 408, 429 and 5xx later; anything else never."""
    try:
        async with session.post(url, json=body, headers=headers, allow_redirects=False) as response:
            if 200 <= response.status < 300:
                return Told()
            text = (await response.content.read(TEXT_CHARS_MAX)).decode(errors="replace")
            why = f"it answered {response.status}: {text}"
            if response.status in RETRY_STATUSES or response.status >= 500:
                return Later(why, retry_after_s(response.headers.get("Retry-After")))
            return Never(why)
    except TimeoutError:
        return Later("it did not answer in time")
    except (aiohttp.ClientError, OSError) as error:
        return Later(f"no connection: {error}")


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header, an hour at most: nobody knows longer. A date is not used by those we speak to:
    it counts as nothing said."""
    if header is None or not (header.isascii() and header.isdigit()):
        return None
    return min(float(header), RETRY_AFTER_S_MAX)


class Backoff:
    """Longer and longer waits, each a random part of its limit. `chance` gives numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float], first_s: float = 1.0, most_s: float = 60.0) -> None:
        self._first_s, self._most_s, self._chance = first_s, most_s, chance
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> float:
        """How long to wait now: half of the limit at least."""
        limit = min(self._most_s, self._first_s * float(2**self._failures))
        self._failures = min(self._failures + 1, 30)
        return limit * (0.5 + 0.5 * self._chance())
