"""The workers of one consumer group in a chaos run: hurt on purpose, started again as a supervisor does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured
from streamapp.kafka.child import free_port
from streamapp.ops.chaos_plan import Fault, Step
from streamapp.ops.chaos_worker import BILLING, WorkerProcess, takeovers

BACKOFF_S = 1.0  # of a worker that ended by itself


@dataclass
class Member:
    """A worker's place: its folder, its port, the process that has it now."""

    number: int
    folder: Path
    port: int
    process: WorkerProcess
    thaw_s: float | None = None
    due_s: float | None = None  # ended by itself; starts again then


@dataclass
class Fleet:
    """`agent` as `-A` names it, found in `code` if that is not among the installed."""

    folder: Path
    environment: Mapping[str, str]
    agent: str = BILLING
    code: Path | None = None
    members: list[Member] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # processes that ended by themselves: number and exit code
    logs: int = 0
    _places: int = 0

    def more(self, count: int = 1) -> None:
        """Start workers at new places."""
        for _ in range(count):
            number, self._places = self._places, self._places + 1
            folder, port = self.folder / f"place-{number}", free_port()
            self.members.append(Member(number, folder, port, self._start(folder, port)))

    def suffer(self, step: Step) -> None:
        """Do a fault to the worker it names; the broker's are not for us."""
        if step.fault is Fault.BROKER:
            return
        if step.fault is Fault.SCALE_UP:
            self.more()
            return
        member = self.members[step.which % len(self.members)]
        if step.fault is Fault.SCALE_DOWN:
            self.members.remove(member)
            member.process.thaw()
            member.process.stop()
        elif step.fault is Fault.FREEZE:
            member.process.freeze()
            member.thaw_s = monotonic_s() + step.seconds
        else:
            member.process.kill()
            if step.fault is Fault.KILL_WIPE:
                shutil.rmtree(member.folder, ignore_errors=True)
            self._again(member)

    def tick(self, now_s: float) -> None:
        """Thaw who was frozen long enough, and start again who has ended. Raises `Misconfigured` with the last words
        of a worker that says that a person must do something."""
        for member in self.members:
            if member.thaw_s is not None and now_s >= member.thaw_s:
                member.thaw_s = None
                member.process.thaw()
            if member.process.runs:
                continue
            if member.due_s is None:
                code = member.process.exit_code
                self.ended.append(f"worker {member.number} ended with {code}")
                if code == Misconfigured.exit_code:
                    raise Misconfigured(f"a worker refuses to go on: {member.process.said()[-1000:]}")
                member.due_s = now_s + BACKOFF_S
            elif now_s >= member.due_s:
                self._again(member)

    def frozen(self) -> bool:
        """Whether somebody is."""
        return any(member.thaw_s is not None for member in self.members)

    def at_work(self) -> bool:
        """Whether every worker that is not frozen has partitions in hand, or had."""
        return all(member.thaw_s is not None or member.process.takeovers() for member in self.members)

    def stop(self) -> None:
        """Stop all, cleanly."""
        for member in self.members:
            member.process.thaw()
            member.process.stop()

    def kill(self) -> None:
        """End all at once."""
        for member in self.members:
            member.process.kill()

    def takeovers(self) -> list[float]:
        """Seconds of every takeover there was."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log"))]
        return [seconds for text in texts for _, seconds in takeovers(text)]

    def _again(self, member: Member) -> None:
        member.due_s = member.thaw_s = None
        member.process = self._start(member.folder, member.port)

    def _start(self, folder: Path, port: int) -> WorkerProcess:
        folder.mkdir(parents=True, exist_ok=True)
        self.logs += 1
        mine = {**self.environment, "STREAM_STATE_DIR": str(folder), "STREAM_WEB__PORT": str(port)}
        return WorkerProcess(self.folder / f"worker-{self.logs}.log", mine, self.agent, self.code)
