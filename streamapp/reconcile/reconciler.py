"""Checks all pairs in rounds and keeps the newest outcome of each.

One thread checks, others read: a pair's outcome is replaced as a whole.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamapp.clock import Clock, cpu_s
from streamapp.errors import StreamError
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import checked
from streamapp.settings import Settings
from streamapp.topics.findings import KINDS, Finding
from streamapp.topics.registry import TOPICS
from streamapp.verify.engine import Check
from streamapp.verify.pairs import Outcome, look
from streamapp.verify.report import PairReport

IDLE_SHARE = 4  # a pause is at least this many times the CPU time of its round: at most a fifth of a core is used
ROUNDS_DIFFERING = 3  # differing rounds in a row that are reported, even when each reading finds other places
STUCK_S = 3600.0  # a check that takes longer than this beyond the interval is stuck

log = logging.getLogger(__name__)

State = Literal["pending", "ok", "wrong", "failed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A pair as it was last checked. `outcome` None: not yet."""

    name: str
    outcome: Outcome | None = None
    checked_ms: int | None = None
    succeeded_ms: int | None = None  # when it was last checked, whatever was found
    differing: int = 0  # rounds in a row in which both readings differed

    @property
    def state(self) -> State:
        """In one word. Failed: it could not be checked."""
        if self.outcome is None:
            return "pending"
        if self.outcome.report is None:
            return "failed"
        return "ok" if self.outcome.ok else "wrong"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; the report's own keys where there is one."""
        found = {"name": self.name, "error": None} if self.outcome is None else self.outcome.as_json()
        return {**found, "state": self.state, "checked_ms": self.checked_ms, "succeeded_ms": self.succeeded_ms}


class Reconciler:
    """Checks `pairs`, one after the other, in rounds. `topics`: checks the topics, at the beginning of a round."""

    def __init__(
        self,
        settings: Settings,
        pairs: tuple[tuple[str, Check], ...],
        clock: Clock,
        topics: Callable[[Settings], Iterable[Finding]] | None = None,
    ) -> None:
        self.pause_s = settings.reconcile.interval_seconds
        self._settings, self._pairs, self._clock = settings, pairs, clock
        self._topics = topics
        self._findings: Mapping[str, int] | None = None
        self._standings: Mapping[str, Standing] = {name: Standing(name) for name, _ in pairs}
        self._stepped_ms = clock()

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`, one at a time, with a pause after each."""
        while not stop.is_set():
            began_s = cpu_s()
            self.round(stop.is_set)
            self.pause_s = max(self._settings.reconcile.interval_seconds, IDLE_SHARE * (cpu_s() - began_s))
            stop.wait(self.pause_s)

    def round(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Check every pair once, and those that could not be checked once more at the end: the next round may be an
        hour away. An error in one check is the standing of that pair and does not end the round."""
        if self._topics is not None:
            self._findings = _count(self._topics, self._settings)
        for again in (False, True):
            for name, check in self._pairs:
                if stopped():
                    return
                if not again or self._standings[name].state == "failed":
                    self._check(name, check)

    def _check(self, name: str, check: Check) -> None:
        before = self._standings[name]
        anywhere = before.differing >= ROUNDS_DIFFERING - 1
        outcome, now_ms = look(name, _guarded(check), self._settings, anywhere=anywhere), self._clock()
        succeeded_ms = before.succeeded_ms if outcome.report is None else now_ms
        differing = _differing(before.differing, outcome)
        self._standings = {**self._standings, name: Standing(name, outcome, now_ms, succeeded_ms, differing)}
        self._stepped_ms = now_ms
        _tell(outcome)

    @property
    def standings(self) -> tuple[Standing, ...]:
        return tuple(self._standings.values())

    @property
    def topic_findings(self) -> Mapping[str, int] | None:
        """Kind → how many findings of `streamapp topics check`. None: not checked yet, or the check failed."""
        return self._findings

    def as_json(self) -> dict[str, Any]:
        pairs = [standing.as_json() for standing in self.standings]
        return {"now_ms": self._clock(), "interval_seconds": round(self.pause_s, 3), "pairs": pairs}

    def health(self) -> Literal["ok", "starting", "stuck"]:
        """Whether the job makes progress, not what it finds. Starting: no pair was checked yet."""
        if self._clock() - self._stepped_ms > 1000 * (self.pause_s + STUCK_S):
            return "stuck"
        return "starting" if self._standings and all(one.outcome is None for one in self.standings) else "ok"


def check_topics(settings: Settings) -> tuple[Finding, ...]:
    """What `streamapp topics check` finds."""
    return checked(Admin(settings.kafka), TOPICS, settings.kafka.replication_factor)


def _count(look: Callable[[Settings], Iterable[Finding]], settings: Settings) -> Mapping[str, int] | None:
    try:
        found = tuple(look(settings))
    except StreamError as error:
        log.warning("the topics could not be checked: %s", error)
        return None
    except Exception:
        log.exception("the check of the topics failed with an unexpected error")
        return None
    for item in found:
        log.warning("topics: %s: %s", item.kind, item)
    return {kind: sum(item.kind == kind for item in found) for kind in KINDS}


def _guarded(check: Check) -> Check:
    """An unexpected error of a check becomes a `StreamError`: the job goes on."""

    def guarded(settings: Settings) -> PairReport:
        try:
            return check(settings)
        except StreamError:
            raise
        except Exception as error:
            log.exception("a check failed with an unexpected error")
            raise StreamError(f"unexpected error, see the log: {type(error).__name__} {error}") from error

    return guarded


def _differing(before: int, outcome: Outcome) -> int:
    """How many rounds in a row differ now. A round without a check does not count."""
    if outcome.report is None:
        return before
    return before + 1 if outcome.differed else 0


def _tell(outcome: Outcome) -> None:
    if outcome.report is None:
        log.warning("%s could not be checked: %s", outcome.name, outcome.error)
    elif outcome.report.difference:
        examples = [
            f"{kind}: {one.where}: {one.what}" for kind, found in outcome.report.faults() for one in found.examples
        ]
        log.error("%s differs by %d, for example %s", outcome.name, outcome.report.difference, examples[0])
    else:
        log.info("%s agrees: %d events, %.1f s", outcome.name, outcome.report.events, outcome.seconds)
