"""How many workers each group of a run should have: a file of `streamapp scale`, followed by the run.

Want → have → apply. `streamapp scale`, `stop` and `start` write what is wanted; the run looks at the file, starts and
stops workers, and writes which processes it has. Both files are in the state directory and last as long as the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streamapp.processes.supervisor import Job, Supervisor
from streamapp.topics.registry import GROUPS

WORKERS_MAX = 9  # ports of a group's pages lie ten apart


class Wanted(NamedTuple):
    """The two files of a run."""

    state_dir: Path

    def begin(self, workers: Mapping[str, int]) -> None:
        """A run begins with so many workers of each group."""
        self._have.unlink(missing_ok=True)
        _write(self._want, workers)

    def end(self) -> None:
        """The run is over."""
        self._want.unlink(missing_ok=True)
        self._have.unlink(missing_ok=True)

    @property
    def changed_ns(self) -> int:
        """When what is wanted was changed last; 0 without a run."""
        try:
            return self._want.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def workers(self) -> dict[str, int] | None:
        """Group → workers that are wanted; None without a run."""
        found: dict[str, int] | None = _read(self._want)
        return found

    def scale(self, group: str, workers: int) -> None:
        """Want so many workers of this group."""
        _write(self._want, {**(self.workers() or {}), group: workers})

    def tell(self, workers: Mapping[str, int], processes: Mapping[str, int]) -> None:
        """The run has done what was wanted, and has these processes: name → process id."""
        _write(self._have, {"workers": workers, "processes": processes})

    def told(self) -> tuple[dict[str, int], dict[str, int]]:
        """What was wanted when the run looked last, and its processes then."""
        have = _read(self._have) or {}
        return have.get("workers", {}), have.get("processes", {})

    @property
    def _want(self) -> Path:
        return self.state_dir / "workers.json"

    @property
    def _have(self) -> Path:
        return self.state_dir / "processes.json"


def worker_names(group: str, count: int) -> tuple[str, ...]:
    """What a run calls the workers of a group: the first of a group that is registered with one has its name alone."""
    alone = next(one.consumers for one in GROUPS if one.name == group) == 1
    return tuple(group if alone and number == 1 else f"{group}-{number}" for number in range(1, count + 1))


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None


def _write(file: Path, rows: Mapping[str, Any]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(rows))
    os.replace(new, file)  # a reader sees the file of before or this one


class Follower:
    """Starts and stops the workers of a run as its file says."""

    def __init__(
        self, wanted: Wanted, supervisor: Supervisor, jobs: Callable[[Mapping[str, int]], Sequence[Job]]
    ) -> None:
        self._wanted, self._supervisor, self._jobs = wanted, supervisor, jobs
        self._seen_ns = wanted.changed_ns
        self._workers = wanted.workers() or {}
        self._told: dict[str, int] | None = None

    def follow(self) -> list[str]:
        """Do what has come to be wanted since the last call; what was done, a sentence each. Waits for what stops."""
        changed = self._wanted.changed_ns != self._seen_ns
        done = self._changed() if changed else []
        now = {name: pid for name in self._supervisor.running if (pid := self._supervisor.pid(name)) is not None}
        if changed or now != self._told:
            self._wanted.tell(self._workers, now)
            self._told = now
        return done

    def _changed(self) -> list[str]:
        self._seen_ns = self._wanted.changed_ns
        before, self._workers = self._workers, self._wanted.workers() or {}
        had, jobs = {job.name for job in self._jobs(before)}, {job.name: job for job in self._jobs(self._workers)}
        if gone := sorted(had - jobs.keys()):
            self._supervisor.stop(*gone)
        new = sorted(jobs.keys() - had)
        self._supervisor.add(*(jobs[name] for name in new if not self._supervisor.knows(name)))
        if new:
            self._supervisor.start(*new)
        return [
            f"{' '.join(names)}: {what}, as asked" for names, what in ((gone, "stopped"), (new, "started")) if names
        ]
