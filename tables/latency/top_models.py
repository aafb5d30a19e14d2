"""Which models are told apart: so many have a place, whoever invents names. The others count as the rest.

While there are free places, a model gets one with its first call. After that it must earn it: a summary of the
frequent names (Misra and Gries) gives every other name a count that is never too high, and a name takes the place of
the lightest one when it has been called twice as often, and often at all. So a flood of invented names, each called a
few times, moves nothing, and a model that comes late is told apart soon.

Who has a place is a function of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tables.latency.tally import OTHERS, Name

EARNED_MIN = 100  # calls that a name must have had before it takes somebody's place

Weigh = Callable[[], Mapping[Name, int]]
"""Calls counted under each name that has a place."""


class TopModels:
    """`earned`: calls that a name had before it got its place, which were counted as the rest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.earned: dict[Name, int] = {}
        self.candidates: dict[Name, int] = {}
        self._changes: dict[Name, int | None] = {}
        self._noted_some = False
        self._enough = EARNED_MIN  # the lightest place is not to be had for less

    def restore(self, earned: Iterable[tuple[Name, int]], candidates: Iterable[tuple[Name, int]]) -> None:
        """As they were left."""
        self.earned, self.candidates = dict(earned), dict(candidates)

    def place(self, name: Name, weigh: Weigh) -> tuple[Name, Name | None]:
        """The name a call counts under, and who has lost its place to it."""
        if name in self.earned or name == OTHERS:
            return name, None
        if len(self.earned) < self.limit:
            self.earned[name] = self._changes[name] = 0
            return name, None
        count = self._noted(name)
        if count < self._enough:
            return OTHERS, None
        weights = weigh()
        weight, lightest = min((weights.get(one, 0) + earned, one) for one, earned in self.earned.items())
        self._enough = max(EARNED_MIN, 2 * weight)
        if count < self._enough:
            return OTHERS, None
        del self.earned[lightest], self.candidates[name]
        self._changes[lightest] = None
        self.earned[name] = self._changes[name] = count
        return name, lightest

    def changes(self) -> tuple[dict[Name, int | None], dict[Name, int] | None]:
        """What has changed since the last call: places, None for a lost one; all candidates, None if none was noted."""
        changes, self._changes = self._changes, {}
        candidates, self._noted_some = dict(self.candidates) if self._noted_some else None, False
        return changes, candidates

    def _noted(self, name: Name) -> int:
        """One more call of a name without a place."""
        self._noted_some = True
        known = self.candidates
        if name in known or len(known) < self.limit:
            known[name] = known.get(name, 0) + 1
            return known[name]
        self.candidates = {one: count - 1 for one, count in known.items() if count > 1}
        return 0
