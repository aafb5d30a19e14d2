"""A worker as a process that can be hurt: started, killed, frozen, woken, and asked what it said.

Used by the chaos run and by the tests of the broker: both do to a worker what the world does.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from streamapp.processes.child import Child, Start, spawned

BILLING = "streamapp.agents.billing_agg"
END_TIMEOUT_S = 20.0
TOOK_OVER = re.compile(r"took over \S+ partitions \[([0-9, ]*)\] in ([0-9.]+) s, (\d+) rows restored")


class WorkerProcess(Child):
    """`faust -A <agent> worker`, in a process that cannot outlive this one. What it says goes to `log`.

    `environment` is added to this process's own. `folder`: where `-A` finds the agent, if not among the installed.
    `clock`: a file that says how many seconds its wall clock is off.
    """

    def __init__(
        self,
        log: Path,
        environment: Mapping[str, str],
        agent: str = BILLING,
        folder: Path | None = None,
        clock: Path | None = None,
        start: Start = spawned,
    ) -> None:
        self.log = log
        program = ["faust"] if clock is None else ["streamapp.chaos.clock", str(clock)]
        workdir = [] if folder is None else ["--workdir", str(folder)]
        faust = [sys.executable, "-m", *program, *workdir, "-A", agent]
        assignments = [f"{name}={value}" for name, value in environment.items()]
        super().__init__("/usr/bin/env", [*assignments, *faust, "worker", "-l", "info"], log, start)

    def kill(self) -> None:
        """End it as `kill -9` does, frozen or not."""
        self.end(signal.SIGKILL, END_TIMEOUT_S)

    def stop(self, timeout_s: float = END_TIMEOUT_S) -> int | None:
        """Ask it to end (SIGTERM) and wait; by force after `timeout_s`. Returns the exit code."""
        self.end(signal.SIGTERM, timeout_s)
        return self.exit_code

    def ask_to_stop(self) -> None:
        self.send(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop its clock: it does nothing and does not know."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on as if nothing had been."""
        self.send(signal.SIGCONT)

    def said(self) -> str:
        """Everything in its log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def takeovers(self) -> list[tuple[list[int], float]]:
        """Each takeover it has finished: the partitions, and how many seconds it took."""
        return takeovers(self.said())


def takeovers(said: str) -> list[tuple[list[int], float]]:
    found = TOOK_OVER.findall(said)
    return [([int(number) for number in numbers.split(",") if number], float(took)) for numbers, took, _ in found]
