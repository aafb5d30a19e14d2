"""What the reconciliation job found, for the front page: asked over HTTP, shared by readers, in words when silent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from streamapp.clock import Clock
from streamapp.errors import Unavailable
from streamapp.web import show
from streamapp.web.pages.asked import asked
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers.group import Finding, Level

SHARE_MS = 900  # a hundred open pages ask once
REST_MS = 3_000  # after a silence: a frozen job does not slow every page
KNOWN_MS = 600_000  # what it said before is shown for so long
LATE_MS = 600_000  # beyond two intervals: a check may take a while
EXAMPLES_MAX = 3

State = Literal["pending", "ok", "wrong", "failed"]


class _Example(msgspec.Struct, frozen=True):
    where: str
    what: str


class _Pair(msgspec.Struct, frozen=True):
    """As `/reconciliation.json` has it; a pair without a report has no numbers."""

    name: str
    state: State
    error: str | None = None
    checked_ms: int | None = None
    left: str = ""
    right: str = ""
    difference: int = 0
    events: int = 0
    waiting: int = 0
    examples: dict[str, list[_Example]] = {}


class _Answer(msgspec.Struct, frozen=True):
    interval_seconds: float
    pairs: list[_Pair]


@dataclass(frozen=True, slots=True)
class PairFacts:
    """One pair as it is shown."""

    name: str
    state: State
    level: Level
    words: str  # for a small label
    difference: int | None  # None: not known
    events: int
    waiting: int
    checked_ms: int | None
    details: tuple[str, ...]  # examples of what differs, or why it could not be checked
    sides: str = ""  # what is compared, in words: "llm_usage and the ledger"

    @property
    def title(self) -> str:
        """What is compared, for people: its sides, or the pair's name as long as the job has not told them."""
        return self.sides or self.name


@dataclass(frozen=True, slots=True)
class Facts:
    """All pairs, and why they are not from just now, if they are not."""

    pairs: tuple[PairFacts, ...] = ()
    problem: str = ""  # empty: the job answered just now
    as_of_ms: int | None = None  # when it last answered
    asked: bool = True

    @property
    def level(self) -> Level:
        """ok, stale (something is not known) or wrong (something differs)."""
        levels = {pair.level for pair in self.pairs}
        if "wrong" in levels:
            return "wrong"
        return "stale" if self.problem or "stale" in levels else "ok"

    def findings(self) -> list[Finding]:
        """What the front page's verdict should say of it. A job that does not run is said in its own section only."""
        return [Finding(pair.level, _sentence(pair)) for pair in self.pairs if pair.level != "ok"]


class Reconciliation:
    """Where the front page gets it from. This one is for pages that are not told where the job is."""

    async def now(self) -> Facts:
        return Facts(asked=False)


class AskedReconciliation(Reconciliation):
    """The job at `url`. Never raises, and never takes longer than `timeout_s`."""

    def __init__(self, url: str, timeout_s: float, clock: Clock, sign: Sign = unsigned) -> None:
        self._sign = sign
        self._url = url.rstrip("/") + "/reconciliation.json"
        self._timeout_s, self._clock = timeout_s, clock
        self._facts = Facts(problem="it was not asked yet")
        self._until_ms = 0
        self._flight: asyncio.Task[Facts] | None = None

    async def now(self) -> Facts:
        """What it says, at most a second old."""
        if self._clock() < self._until_ms:
            return self._facts
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._ask())
        return await asyncio.shield(self._flight)  # a reader who leaves does not take the answer from the others

    async def _ask(self) -> Facts:
        try:
            answer = await asked(self._url, _Answer, self._timeout_s, self._sign)
        except Unavailable as error:
            return self._silent(str(error))
        now_ms = self._clock()
        late_ms = now_ms - round(2000 * answer.interval_seconds) - LATE_MS
        self._facts = Facts(tuple(_shown(pair, late_ms) for pair in answer.pairs), as_of_ms=now_ms)
        self._until_ms = now_ms + SHARE_MS
        return self._facts

    def _silent(self, problem: str) -> Facts:
        known = self._facts
        now_ms = self._clock()
        if known.as_of_ms is None or now_ms - known.as_of_ms > KNOWN_MS:
            known = Facts()
        self._facts = replace(known, problem=problem)
        self._until_ms = now_ms + REST_MS
        return self._facts


def _shown(pair: _Pair, late_ms: int) -> PairFacts:
    level: Level = "wrong" if pair.state == "wrong" else "stale" if pair.state == "failed" else "ok"
    if level == "ok" and pair.checked_ms is not None and pair.checked_ms < late_ms:
        level = "stale"
    examples = [f"{kind}: {one.where}: {one.what}" for kind, ones in sorted(pair.examples.items()) for one in ones]
    details = examples[:EXAMPLES_MAX] if pair.error is None else [pair.error]
    return PairFacts(
        show.visible(pair.name),
        pair.state,
        level,
        _words(pair, level),
        pair.difference if pair.state in ("ok", "wrong") else None,
        pair.events,
        pair.waiting,
        pair.checked_ms,
        tuple(show.visible(text) for text in details),
        show.visible(f"{pair.left} and {pair.right}") if pair.left and pair.right else "",
    )


def _words(pair: _Pair, level: Level) -> str:
    if pair.state == "wrong":
        return "1 does not match" if pair.difference == 1 else f"{show.number(pair.difference)} do not match"
    if pair.state == "ok":
        return "matched long ago" if level == "stale" else "match"
    return "not checked" if pair.state == "failed" else "first check"


def _sentence(pair: PairFacts) -> str:
    why = f" ({pair.details[0]})" if pair.state == "failed" and pair.details else ""
    return f"{pair.title}: {pair.words}{why}."


def twin(facts: Facts) -> dict[str, Any]:
    """The same for machines."""
    return {"level": facts.level, "problem": facts.problem, "as_of_ms": facts.as_of_ms, "pairs": facts.pairs}
