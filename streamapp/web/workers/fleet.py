"""One question to every worker of a group: this one in memory, the others over HTTP, in parallel.

A peer that does not answer in time is still in the list of answers, with what it said last (at most ten minutes old) or
with nothing, and with the reason. It then rests for three seconds, so that a frozen worker does not slow every page. A
peer that only refuses one question, as one of another version or with a damaged table does, is asked the others.
Answers are shared for a second: a hundred open pages ask once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlencode

import aiohttp
import msgspec
from yarl import URL

from streamapp.clock import Clock
from streamapp.facts.worker import WorkerView
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers import local, wire

T = TypeVar("T")

SHARE_MS = 900  # below the second between two live updates
REST_MS = 3_000
KNOWN_MS = 600_000
KNOWN_MAX = 256  # answers kept for the day a worker falls silent; the biggest is one page of hours
FLIGHTS_MAX = 256
WORKER_ANSWER_BYTES_MAX = 32 * 1024 * 1024
PEERS_MAX = 64
WORKER_HEADER = "X-Stream-Worker"
REFUSED = {
    401: "it refuses this worker: another peer token, or another time",
    403: "it does not answer for this role",
    404: "it does not know this question: it runs another version",
}


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What one worker said. `problem` is empty when it answered just now."""

    worker: str
    url: str
    value: T | None
    as_of_ms: int | None  # None: nothing is known
    problem: str = ""

    @property
    def stale(self) -> bool:
        """True when this is what the worker said before it fell silent."""
        return bool(self.problem)


class Fleet:
    """All workers of a group, seen from this one; `view` is this worker's if it belongs to the group, else None."""

    def __init__(
        self,
        view: WorkerView | None,
        clock: Clock,
        peer_timeout_s: float,
        peers: Callable[[], tuple[str, ...]],
        sign: Sign = unsigned,
    ) -> None:
        self._sign = sign
        self.view = view
        self.clock = clock
        self.peers = peers
        self._timeout = aiohttp.ClientTimeout(total=peer_timeout_s)
        self._timeout_s = peer_timeout_s
        self._flights: OrderedDict[str, tuple[int, asyncio.Task[list[Answer[Any]]]]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], Answer[Any]] = OrderedDict()
        self._names: dict[str, str] = {}
        self._resting: dict[str, tuple[int, str]] = {}
        self._self: tuple[str, str] | None = None

    async def ask(
        self, topic: str, params: dict[str, str], type_: type[T], *, share_ms: int = SHARE_MS
    ) -> list[Answer[T]]:
        """Ask `/_local/<topic>` of everybody; this worker's answer comes first. Raises what the own view raises. An
        answer is at most `share_ms` older than the question; with 0, those alone share it who ask at the same time.

        Empty when nobody is known to be in the group.
        """
        question = f"/_local/{topic}" + (f"?{urlencode(params, errors='replace')}" if params else "")
        now = self.clock()
        made, flight = self._flights.get(question, (0, None))
        if flight is None or flight.get_loop().is_closed() or (flight.done() and not 0 <= now - made < share_ms):
            flight = asyncio.create_task(self._everybody(topic, params, question, type_))
            flight.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._flights[question] = (now, flight)
            self._flights.move_to_end(question)
            while len(self._flights) > FLIGHTS_MAX:
                self._flights.popitem(last=False)
        return await asyncio.shield(flight)  # a reader who leaves does not take the answer from the others

    async def own(self, topic: str, params: dict[str, str]) -> Answer[Any] | None:
        """What this worker itself answers; None when it is of another group."""
        if self.view is None:
            return None
        value = await local.ANSWERS[topic].answer(self.view, params)
        return Answer(*self._mine(self.view), value, self.clock())

    def _mine(self, view: WorkerView) -> tuple[str, str]:
        """This worker's name and url, which stay: all that it could tell beside takes longer than most answers."""
        if self._self is None:
            facts = view.worker()
            self._self = facts.name, facts.url
        return self._self

    async def _everybody(self, topic: str, params: dict[str, str], question: str, type_: type[T]) -> list[Answer[T]]:
        mine = self._mine(self.view) if self.view is not None else None
        own = mine[1].rstrip("/") if mine is not None else None
        peers = [url for url in dict.fromkeys(self.peers()) if url.rstrip("/") != own]
        self._forget(set(peers))
        answers = self._peers(peers, question, type_)
        if self.view is None or mine is None:
            return await answers
        value, others = await asyncio.gather(local.ANSWERS[topic].answer(self.view, params), answers)
        return [Answer(*mine, value, self.clock()), *others]

    async def _peers(self, peers: list[str], question: str, type_: type[T]) -> list[Answer[T]]:
        if not peers:
            return []
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            asked = (self._peer(session, url, question, type_) for url in peers[:PEERS_MAX])
            return await asyncio.gather(*asked)

    async def _peer(self, session: aiohttp.ClientSession, url: str, question: str, type_: type[T]) -> Answer[T]:
        until, why = self._resting.get(url, (0, ""))
        if self.clock() < until:
            return self._silent(url, question, why)
        try:
            where, seal = URL(url.rstrip("/") + question, encoded=True), self._sign(question)
            async with session.get(where, headers=seal, allow_redirects=False) as response:
                response.raise_for_status()
                body = await bounded(response)
                self._names[url] = unquote(response.headers.get(WORKER_HEADER, "")) or self._names.get(url, url)
            value = wire.decode(body, type_)
        except TimeoutError:
            return self._rest(url, question, f"no answer within {self._timeout_s:g} s")
        except aiohttp.ClientResponseError as error:
            kept = self._rest if error.status == 401 else self._silent  # any other says nothing of the other questions
            return kept(url, question, REFUSED.get(error.status, f"it answered with status {error.status}"))
        except (aiohttp.ClientError, OSError):
            return self._rest(url, question, "no connection")
        except msgspec.MsgspecError:
            return self._silent(url, question, "its answer could not be read")
        except ValueError:
            return self._rest(url, question, "its answer could not be read")
        self._resting.pop(url, None)
        answer = Answer(self._names[url], url, value, self.clock())
        self._remember(question, answer)
        return answer

    def _rest(self, url: str, question: str, why: str) -> Answer[Any]:
        self._resting[url] = (self.clock() + REST_MS, why)
        return self._silent(url, question, why)

    def _silent(self, url: str, question: str, why: str) -> Answer[Any]:
        known, name = self._known.get((url, question)), self._names.get(url, url)
        if known is None or self.clock() - (known.as_of_ms or 0) > KNOWN_MS:
            return Answer(name, url, None, None, why)
        return replace(known, worker=name, problem=why)

    def _remember(self, question: str, answer: Answer[Any]) -> None:
        self._known[answer.url, question] = answer
        self._known.move_to_end((answer.url, question))
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _forget(self, peers: set[str]) -> None:
        for url in [url for url in self._names if url not in peers]:
            del self._names[url]
        for url in [url for url in self._resting if url not in peers]:
            del self._resting[url]


async def bounded(response: aiohttp.ClientResponse, most: int = WORKER_ANSWER_BYTES_MAX) -> bytes:
    """An answer's body. Raises ValueError when it is longer than `most` bytes."""
    body = await response.content.read(most + 1)
    while len(body) <= most and (more := await response.content.read(most)):
        body += more
    if len(body) > most:
        raise ValueError("too long an answer")
    return body


def header_name(name: str) -> str:
    """A worker's name as a header may carry it."""
    return quote(name, safe="", errors="replace")
