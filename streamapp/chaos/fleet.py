"""The workers of one consumer group in a chaos run: hurt on purpose, started again as a supervisor does."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamapp.chaos.files import spoil
from streamapp.chaos.plan import ELSEWHERE, Fault, Step
from streamapp.chaos.worker import BILLING, END_TIMEOUT_S, WorkerProcess, takeovers
from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured
from streamapp.processes.child import free_port

BACKOFF_FIRST_S = 1.0  # of a worker that ended by itself; doubled each time, until it has been at work again
BACKOFF_MAX_S = 8.0
CLOCK_OFF_S = 10.0  # how long a stepped clock stays so
ROOM_BYTES = 64 << 10  # no file of a worker whose disk is full grows beyond this; needs no mount and no rights


@dataclass
class Member:
    """A worker's place: its folder, its port, the process that has it now."""

    number: int
    folder: Path
    port: int
    process: WorkerProcess
    thaw_s: float | None = None
    clock_s: float | None = None  # its clock is off until then
    due_s: float | None = None  # ended by itself; starts again then
    backoff_s: float = BACKOFF_FIRST_S

    @property
    def clock(self) -> Path:
        """The file that says how far its clock is off."""
        return self.folder.with_suffix(".clock")


@dataclass
class Fleet:
    """`agent` as `-A` names it, found in `code` if that is not among the installed."""

    folder: Path
    environment: Mapping[str, str]
    agent: str = BILLING
    code: Path | None = None
    members: list[Member] = field(default_factory=list)
    leaving: list[tuple[Member, float]] = field(default_factory=list)  # asked to stop; ended by force then
    ended: list[str] = field(default_factory=list)  # processes that ended by themselves: number and exit code
    refused: str = ""  # last words of a worker that says that a person must do something
    logs: int = 0
    _places: int = 0
    _resting: bool = False
    _harms: int = 0

    def scale(self, workers: int) -> None:
        """So many workers: more at new places, or fewer, stopped cleanly; the newest go first."""
        while len(self.members) < workers:
            number, self._places = self._places, self._places + 1
            folder, port = self.folder / f"place-{number}", free_port()
            member = Member(number, folder, port, self._start(folder, port))
            self.members.append(member)
        for member in self.members[workers:]:
            member.process.thaw()
            if member.process.runs:
                member.process.ask_to_stop()
                self.leaving.append((member, monotonic_s() + END_TIMEOUT_S))
        del self.members[workers:]

    def suffer(self, step: Step) -> None:
        """Do a fault to the worker it names, if it is a worker's."""
        if step.fault in ELSEWHERE:
            return
        if step.fault is Fault.SCALE:
            self.scale(step.workers)
            return
        member, now_s = self.members[step.which % len(self.members)], monotonic_s()
        match step.fault:
            case Fault.FREEZE:
                member.process.freeze()
                member.thaw_s = now_s + step.seconds
            case Fault.CLOCK:
                member.clock.write_text(f"{step.seconds:.0f}")
                member.clock_s = now_s + CLOCK_OFF_S
            case Fault.DISK_FULL:
                if member.process.runs:
                    resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))
            case _:
                member.process.kill()
                if step.fault in (Fault.KILL_WIPE, Fault.COMPACTED):
                    shutil.rmtree(member.folder, ignore_errors=True)
                elif step.fault is Fault.CORRUPT:
                    self._harms = spoil(member.folder, self._harms)
                self._again(member)

    def tick(self, now_s: float) -> None:
        """Thaw who was frozen long enough, set clocks right, and start again who has ended, unless all rest."""
        if self._resting:
            return
        for member in self.members:
            if member.thaw_s is not None and now_s >= member.thaw_s:
                member.thaw_s = None
                member.process.thaw()
            if member.clock_s is not None and now_s >= member.clock_s:
                member.clock_s = None
                member.clock.write_text("0")
            if not member.process.runs:
                self._ended(member, now_s)
        for member, until_s in list(self.leaving):
            if member.process.runs and now_s < until_s:
                continue
            member.process.kill()
            self.leaving.remove((member, until_s))
            if member.process.exit_code != 0:
                self.ended.append(f"worker {member.number}, told to stop, ended with {member.process.exit_code}")

    def _ended(self, member: Member, now_s: float) -> None:
        if member.due_s is not None:
            if now_s >= member.due_s:
                self._again(member)
            return
        code = member.process.exit_code
        self.ended.append(f"worker {member.number} ended with {code}")
        if code == Misconfigured.exit_code:
            self.refused = self.refused or member.process.said()[-1000:]
        member.backoff_s = BACKOFF_FIRST_S if member.process.takeovers() else min(BACKOFF_MAX_S, 2 * member.backoff_s)
        member.due_s = now_s + member.backoff_s

    def rest(self) -> None:
        """Stop all, cleanly, until `wake`."""
        self._resting = True
        for member in self.members:
            member.process.thaw()
            member.process.ask_to_stop()
        for member in self.members:
            member.process.stop()

    def wake(self) -> None:
        """Start all again."""
        self._resting = False
        for member in self.members:
            self._again(member)

    def hurt(self) -> bool:
        """Whether somebody is frozen, has a wrong clock, or is on the way out."""
        return bool(self.leaving) or any(one.thaw_s is not None or one.clock_s is not None for one in self.members)

    def at_work(self) -> bool:
        """Whether every worker that is not frozen has partitions in hand, or had."""
        return all(one.thaw_s is not None or one.process.takeovers() for one in self.members)

    def stop(self) -> None:
        """Stop all, cleanly."""
        self.scale(0)
        for member, _ in self.leaving:
            member.process.stop()

    def kill(self) -> None:
        for member in (*self.members, *(member for member, _ in self.leaving)):
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
        log, clock = self.folder / f"worker-{self.logs}.log", folder.with_suffix(".clock")
        mine = {**self.environment, "STREAM_STATE_DIR": str(folder), "STREAM_WEB__PORT": str(port)}
        return WorkerProcess(log, mine, self.agent, self.code, clock)
