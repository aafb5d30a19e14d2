"""In which order several processes of pytest-xdist run the tests: each begins with slow ones.

`--dist worksteal` gives each process a part of the list, one behind the other, and whoever has done its part takes from
the end of another's. So each part begins with modules that start brokers and workers, and ends with quick ones: nobody
waits at the end for a slow test of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import pytest

ALONE = {"emptied", "new_broker"}
ROOMS = ("sdk", "broker", "browser", "simulation", "contract", "property")
"""Folders of tests, the slowest first; the others are quick."""


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """The tests for so many processes. A module stays together: what it shares is made once."""
    modules = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
    modules.sort(key=_quickness)
    slow = [tests for tests in modules if _quickness(tests)[1] < len(ROOMS)]
    parts: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, tests in enumerate(slow):
        parts[number % processes] += tests
    for tests in modules[len(slow) :]:
        min(parts, key=len).extend(tests)
    return [item for part in parts for item in part]


def _quickness(tests: Iterable[pytest.Item]) -> tuple[int, int]:
    """Sorts slow modules first: those with longer limits or brokers of their own, then by folder."""
    items = list(tests)
    room = items[0].path.parent.name
    long = any(item.get_closest_marker("timeout") for item in items)
    alone = any(ALONE & set(getattr(item, "fixturenames", ())) for item in items)
    return 0 if long else 1 if alone else 2, ROOMS.index(room) if room in ROOMS else len(ROOMS)
