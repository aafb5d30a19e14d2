"""CPU and memory of a tree of processes, as Linux counts them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Use:
    """CPU time since the start, user and system, reaped children included; and resident memory now."""

    cpu_us: float
    rss_bytes: int


def use_of(roots: list[int]) -> Use:
    """Sum over the roots and all their living descendants. Processes that are gone count nothing."""
    stats = _stats()
    found = [stats[pid] for pid in _tree(roots, stats)]
    return Use(sum(one[1] for one in found) * TICK_US, sum(one[2] for one in found) * PAGE_BYTES)


def find(root: int, word: str) -> int | None:
    """The process among the root and its living descendants whose command line has this word; None without one."""
    for pid in _tree([root], _stats()):
        with suppress(OSError):
            if word.encode() in (PROC / str(pid) / "cmdline").read_bytes().split(b"\0"):
                return pid
    return None


def _tree(roots: list[int], stats: Mapping[int, tuple[int, int, int]]) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, _, _) in stats.items():
        children[parent].append(pid)
    todo, seen = list(roots), set[int]()
    while todo:
        pid = todo.pop()
        if pid not in seen and pid in stats:
            seen.add(pid)
            todo += children[pid]
    return seen


def _stats() -> dict[int, tuple[int, int, int]]:
    """Process id → parent, CPU ticks, resident pages."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = _parsed((entry / "stat").read_text())
            except OSError:
                continue  # it ended meanwhile
    return found


def _parsed(stat: str) -> tuple[int, int, int]:
    # pid (name) state ppid …; the name may hold spaces and brackets. Fields are counted from the state: 0.
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15]), int(fields[21])
