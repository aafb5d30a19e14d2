"""CPU and memory of a tree of processes, as Linux counts them."""

from __future__ import annotations

import os
from collections import defaultdict
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
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, _, _) in stats.items():
        children[parent].append(pid)
    todo, seen = list(roots), set[int]()
    ticks = pages = 0
    while todo:
        pid = todo.pop()
        if pid in seen or pid not in stats:
            continue
        seen.add(pid)
        todo += children[pid]
        ticks += stats[pid][1]
        pages += stats[pid][2]
    return Use(ticks * TICK_US, pages * PAGE_BYTES)


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
