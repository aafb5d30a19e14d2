"""A cause's life: dead letters are counted; many at once open an incident; it is told again now and then; silence ends
it.

What people must be told stands in the cause's row as alerts, each with the destinations that it has not reached yet.
A crash loses none of them, and an alert that was sent twice is one incident, by its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tables.cause import Cause
from tables.window import MINUTE_MS

SAMPLES_MAX = 3
Kind = Literal["opened", "grown", "resolved"]


@dataclass(frozen=True, slots=True)
class AlertRules:
    """When a cause is an incident, and who is told.

    threshold      dead letters of one window that open it
    at_once        reasons of which one dead letter is enough
    quiet_ms       how long after its last dead letter it is resolved; not shorter than a window
    update_ms      how long after it was told it may be told again
    destinations   names of those who are told
    """

    threshold: int = 10
    at_once: frozenset[str] = frozenset()
    quiet_ms: int = 15 * MINUTE_MS
    update_ms: int = 15 * MINUTE_MS
    destinations: tuple[str, ...] = ()


class Alert(NamedTuple):
    """Something to tell about incident `number` of a cause. `owed`: the destinations that have not been told."""

    number: int
    kind: Kind
    at_ms: int  # when it happened, by the letters' time
    due_ms: int  # when it was found, by the clock
    letters: int  # of the incident by then
    owed: tuple[str, ...]


@dataclass(slots=True)
class CauseRow:
    """What is known of a cause. `opened_ms` None: there is no open incident; `incidents` have been opened so far."""

    cause: Cause
    first_ms: int
    last_ms: int
    letters: int = 0
    samples: tuple[str, ...] = ()  # ids of the newest dead letters
    incidents: int = 0
    opened_ms: int | None = None
    letters_before: int = 0  # of the cause, that are not the incident's
    told_ms: int = 0
    alerts: tuple[Alert, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether nothing is open and nobody must be told."""
        return self.opened_ms is None and not self.alerts

    def quiet_at_ms(self, rules: AlertRules) -> int:
        """When silence resolves it."""
        return self.last_ms + rules.quiet_ms

    def count(self, letter: str | None, at_ms: int, in_window: int, rules: AlertRules, now_ms: int) -> None:
        """One more dead letter; with it there are `in_window` in its window."""
        self.letters += 1
        self.first_ms, self.last_ms = min(self.first_ms, at_ms), max(self.last_ms, at_ms)
        if letter is not None:
            self.samples = (*self.samples, letter)[-SAMPLES_MAX:]
        if self.opened_ms is None:
            if in_window >= rules.threshold or self.cause.reason in rules.at_once:
                self.incidents += 1
                self.opened_ms, self.letters_before = at_ms, self.letters - in_window
                self._tell("opened", at_ms, now_ms, rules)
        elif at_ms - self.told_ms >= rules.update_ms and not any(a.number == self.incidents for a in self.alerts):
            self._tell("grown", at_ms, now_ms, rules)

    def resolve(self, rules: AlertRules, now_ms: int) -> None:
        """It has been quiet for long enough. The moment is the same whoever finds it: the last dead letter decides
        it."""
        assert self.opened_ms is not None, "nothing is open"
        self.opened_ms = None
        self._tell("resolved", self.quiet_at_ms(rules), now_ms, rules)

    def delivered(self, number: int, kind: Kind, destination: str) -> None:
        """A destination was told, or will never be. Saying it twice changes nothing."""
        kept = []
        for alert in self.alerts:
            if (alert.number, alert.kind) == (number, kind):
                alert = alert._replace(owed=tuple(name for name in alert.owed if name != destination))
            if alert.owed:
                kept.append(alert)
        self.alerts = tuple(kept)

    def _tell(self, kind: Kind, at_ms: int, now_ms: int, rules: AlertRules) -> None:
        self.told_ms = at_ms
        if rules.destinations:
            letters = self.letters - self.letters_before
            self.alerts += (Alert(self.incidents, kind, at_ms, now_ms, letters, rules.destinations),)
