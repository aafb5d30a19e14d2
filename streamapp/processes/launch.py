"""Many processes started a few at a time: each needs a processor to itself for a second or two before it is of use.

No thread of its own and no clock: whoever owns it asks `due` a few times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamapp.processes.supervisor import Job

PATIENCE_S = 15.0  # a job that is not up by then does not hold the others up any longer


class Launch:
    """Starts jobs in their order, at most `at_once` of them on their way up at a time."""

    def __init__(self, jobs: Sequence[Job], at_once: int) -> None:
        self.total = len(jobs)
        self._at_once = at_once
        self._waiting = list(jobs)
        self._coming: dict[Job, float] = {}

    def due(self, up: Callable[[Job], bool], now_s: float) -> list[str]:
        """The jobs to start now. `up` tells whether a job that was started is of use."""
        for job, since_s in list(self._coming.items()):
            if now_s - since_s > PATIENCE_S or up(job):
                del self._coming[job]
        count = self._at_once - len(self._coming)
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        self._coming.update((job, now_s) for job in now)
        return [job.name for job in now]

    @property
    def up(self) -> int:
        """How many jobs are up, or had their time."""
        return self.total - len(self._waiting) - len(self._coming)

    @property
    def done(self) -> bool:
        """Whether all of them are."""
        return self.up == self.total
