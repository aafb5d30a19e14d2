"""In which order several processes of pytest-xdist run the tests: each begins with slow ones.

`--dist worksteal` gives each process a part of the list, one behind the other, and whoever has done its part takes from
the end of another's. So each part begins with modules that start brokers and workers, and ends with quick ones: nobody
waits at the end for a slow test of somebody else. Modules that share something which is started once in a process, as a
broker or a browser, are in as few parts as they can: a start costs as much as a dozen tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import pytest

ALONE = {"emptied", "new_broker"}
ROOMS = ("sdk", "broker", "browser", "registry", "simulation", "contract", "property")
"""Folders of tests, the slowest first; the others are quick."""
QUICK = (2, len(ROOMS))
SHARED = {"chromium": 9.0, "locked_fixtures": 3.0, "broker": 1.5, "emptied": 3.0}
"""Plugins and fixtures that start something for the session → about how many seconds a test with it takes."""
OTHERS_S = {"broker": 4.0, "registry": 1.0}
"""The same of a test in a folder, where it shares nothing; elsewhere `QUICK_S`."""
QUICK_S = 0.1


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """All tests, for so many processes. A slow module stays together: what it shares is made once."""
    modules = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
    slow = [tests for tests in modules if _quickness(tests) < QUICK]
    parts = _cut(sorted(slow, key=_share), processes)
    quick = [item for tests in modules if _quickness(tests) >= QUICK for item in tests]
    left = len(items)
    for number, part in enumerate(parts):  # as pytest-xdist cuts the list: no slow test is at the end of another's part
        size = left // (processes - number)
        room = max(0, size - len(part))
        part += quick[:room]
        quick, left = quick[room:], left - size
    return [item for part in parts for item in part] + quick


def _cut(modules: Sequence[list[pytest.Item]], processes: int) -> list[list[pytest.Item]]:
    """Parts that take about as long as each other: those that share something one behind the other, then the rest."""
    parts: list[list[list[pytest.Item]]] = [[] for _ in range(processes)]
    sharing = [tests for tests in modules if _shared(tests)]
    whole_s, before_s = sum(map(_seconds, sharing)), 0.0
    for tests in sharing:
        middle_s = before_s + _seconds(tests) / 2
        parts[int(middle_s / whole_s * processes)].append(tests)
        before_s += _seconds(tests)
    for tests in modules:
        if not _shared(tests):
            min(parts, key=lambda part: sum(map(_seconds, part))).append(tests)
    return [[item for tests in sorted(part, key=_quickness) for item in tests] for part in parts]


def _shared(tests: Iterable[pytest.Item]) -> list[str]:
    """What a module starts for the whole session, by the names in `SHARED`."""
    names = {name for item in tests for name in getattr(item, "fixturenames", ())}
    names |= {name for item in tests for name in getattr(getattr(item, "module", None), "pytest_plugins", ())}
    return [name for name in SHARED if name in names]


def _share(tests: Iterable[pytest.Item]) -> list[int]:
    """Sorts modules that share the same side by side."""
    return [list(SHARED).index(name) for name in _shared(tests)]


def _seconds(tests: Sequence[pytest.Item]) -> float:
    """About how long a module takes."""
    alone_s = OTHERS_S.get(tests[0].path.parent.name, QUICK_S)
    return len(tests) * max((SHARED[name] for name in _shared(tests)), default=alone_s)


def _quickness(tests: Sequence[pytest.Item]) -> tuple[int, int]:
    """Sorts slow modules first: those with longer limits or brokers of their own, then by folder."""
    room = tests[0].path.parent.name
    long = any(item.get_closest_marker("timeout") for item in tests)
    alone = any(ALONE & set(getattr(item, "fixturenames", ())) for item in tests)
    return 0 if long else 1 if alone else 2, ROOMS.index(room) if room in ROOMS else len(ROOMS)
