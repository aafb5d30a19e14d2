"""Rows in runs: of one hour, or of one partition. What was made of a run is made again only when the run has changed.

A worker has 100,000 rows, and few of them change between two looks. Those that do not change are the same objects, so
that two lists of them are compared without a look at a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

R = TypeVar("R")
T = TypeVar("T")

QUESTIONS_MAX = 12  # whose answers are kept: those asked last


class Runs(Generic[R]):
    """Rows of one worker, sorted by `name`: what rows of one run have in common. Safe in threads."""

    def __init__(self, name: Callable[[R], int]) -> None:
        self._name = name
        self._seen: list[R] = []
        self._runs: dict[int, list[R]] = {}
        self._made: dict[Hashable, dict[int, tuple[list[R], Any]]] = {}
        self._lock = Lock()

    def each(
        self,
        rows: list[R],
        question: Hashable,
        make: Callable[[list[R]], T],
        wanted: Callable[[int], bool] = lambda name: True,
    ) -> list[T]:
        """What `make` says of each run whose name is wanted, in the order of the rows. `question` names what is made.
        Whoever asks changes nothing of it."""
        with self._lock:
            self._look(rows)
            known = self._made.pop(question, {})
            for name, run in self._runs.items():
                if wanted(name) and name not in known:
                    known[name] = run, make(run)
            self._made[question] = known
            for old in list(self._made)[:-QUESTIONS_MAX]:
                del self._made[old]
            return [known[name][1] for name in self._runs if wanted(name)]

    def _look(self, rows: list[R]) -> None:
        """Runs that have not changed stay the same lists."""
        if rows != self._seen:
            found = {self._name(rows[at]): rows[at:end] for at, end in pairwise(self._ends(rows))}
            self._runs = {name: old if (old := self._runs.get(name)) == run else run for name, run in found.items()}
            self._seen = rows
            for known in self._made.values():
                for name in [name for name, (run, _) in known.items() if self._runs.get(name) is not run]:
                    del known[name]

    def _ends(self, rows: list[R]) -> Iterator[int]:
        at = 0
        while at < len(rows):
            yield at
            at = bisect_right(rows, self._name(rows[at]), lo=at, key=self._name)
        yield at


class Of(Generic[R]):
    """The runs of each worker of this process."""

    def __init__(self, made: Callable[[], Runs[R]]) -> None:
        self._made = made
        self._runs: WeakKeyDictionary[object, Runs[R]] = WeakKeyDictionary()

    def __call__(self, view: object) -> Runs[R]:
        if view not in self._runs:
            self._runs[view] = self._made()
        return self._runs[view]
