"""Child processes kept running: restarted when they crash, stopped in order, their logs in files, errors passed on.

No thread of its own: whoever owns it calls `tick` a few times a second.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured
from streamapp.processes.child import Child

# Appends to the log, where a process before it may have said why it ended, and becomes the program by exec.
SHELL = ("/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1')
MISCONFIGURED = Misconfigured.exit_code
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STEADY_S = 30.0  # a process that ran so long begins with the shortest pause again
STOP_S = 20.0
LOG_BYTES_MAX = 20 << 20
LINES_MAX = 8  # errors passed on of one process and tick; its log has all
LINE_MAX = 400
TOLD_MAX = 1000

_ERROR = re.compile(r"\[(ERROR|CRITICAL)\]|^\S+ (ERROR|CRITICAL) |^streamapp: |^Error: ")
# Time, process, level and Faust's service; or time, level and logger of the commands that are no workers.
_FRAME = re.compile(
    r"^(?:\[[^\]]*\] \[[^\]]*\] \[[^\]]*\] (?:\[\^[^\]]*\]: ?)?|\S+ \S+ \[[A-Z]+\] (?:\w+(?:\.\w+)+: )?)"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A process to keep running. `stage`: lower ones are stopped first. `ends`: done when it ends with 0. `port`: where
    it listens on the loopback interface as soon as it is up; 0: nowhere."""

    name: str
    command: tuple[str, ...]
    stage: int
    ends: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    port: int = 0


class News(NamedTuple):
    """Something a person should see. `fatal`: this process will not be started again. `said`: a line of its log,
    without time, process and level."""

    name: str
    text: str
    fatal: bool = False
    said: bool = False


class Supervisor:
    """Runs each job in a child process that cannot outlive this one; its log is `<logs>/<name>.log`.

    A job that ends is started again after 0.5 s, then 1 s, 2 s … 30 s; after half a minute of running the pauses begin
    anew. Not so with exit code 78 (a person must change something): its message is fatal news. Errors in a log are
    news, each message once in the life of a process; those that match `counted` are only counted.
    """

    def __init__(self, jobs: Iterable[Job], logs: Path, counted: re.Pattern[str] | None = None) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._counted = counted
        self._runs: dict[str, _Run] = {}
        self.add(*jobs)

    def add(self, *jobs: Job) -> None:
        """Look after these jobs, too; they are not started yet."""
        for job in jobs:
            assert job.name not in self._runs, job.name
            self._runs[job.name] = _Run(job, self._logs / f"{job.name}.log", self._counted)

    def start(self, *names: str) -> None:
        """Start these jobs, all by default; those that run already stay as they are."""
        for name in names or tuple(self._runs):
            self._runs[name].start(monotonic_s())

    def tick(self, now_s: float) -> list[News]:
        """Start again what is due, and tell what happened since the last call. `now_s` is a monotonic clock's."""
        return [news for run in self._runs.values() for news in run.tick(now_s)]

    def pid(self, name: str) -> int | None:
        """The process id while the job runs."""
        child = self._runs[name].child
        return child.pid if child is not None and child.runs else None

    def knows(self, name: str) -> bool:
        """Whether this job is looked after, running or not."""
        return name in self._runs

    def done(self, name: str) -> bool:
        """Whether a job that ends has ended with 0, or was stopped."""
        return self._runs[name].done

    @property
    def counted(self) -> int:
        """How many log lines matched `counted`, of all processes since this object was made."""
        return sum(run.counted for run in self._runs.values())

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the jobs that have a process now."""
        return tuple(name for name in self._runs if self.pid(name) is not None)

    def stop(self, *names: str) -> None:
        """Stop these jobs, all by default: stage by stage, each cleanly (SIGTERM), after 20 s by force."""
        wanted = [self._runs[name] for name in names or tuple(self._runs)]
        for stage in sorted({run.job.stage for run in wanted}):
            together = [run for run in wanted if run.job.stage == stage]
            for run in together:
                run.tell_stop()
            end_s = monotonic_s() + STOP_S
            for run in together:
                run.await_stop(end_s)


def _started(job: Job, log: Path) -> Child:
    assignments = [f"{name}={value}" for name, value in job.environment]
    shell, *arguments = *SHELL, str(log), "env", *assignments, *job.command
    return Child(shell, arguments, Path(os.devnull))


class _Run:
    """One job's process, now and before."""

    def __init__(self, job: Job, log: Path, pattern: re.Pattern[str] | None) -> None:
        self.job = job
        self.counted = 0
        self._pattern = pattern
        self.child: Child | None = None
        self.done = False
        self._log = log
        self._read_to = 0
        self._told: set[str] = set()
        self._crashes = 0
        self._started_s = 0.0
        self._due_s: float | None = None

    def start(self, now_s: float) -> None:
        if self.child is not None and self.child.runs:
            return
        if self._log.exists() and (self.child is None or self._log.stat().st_size > LOG_BYTES_MAX):
            self._log.replace(self._log.with_suffix(".log.1"))  # the run before this one stays readable
            self._read_to = 0
        self._log.touch()
        self._told.clear()
        self.child = _started(self.job, self._log)
        self.done, self._due_s, self._started_s = False, None, now_s

    def tick(self, now_s: float) -> list[News]:
        news = [News(self.job.name, line, said=True) for line in self._errors()]
        code = None if self.child is None else self.child.exit_code
        if code is None or self.done:
            return news
        if self._due_s is None:
            news += self._ended(code, now_s)
        elif now_s >= self._due_s:
            self.start(now_s)
        return news

    def tell_stop(self) -> None:
        self.done = True
        if self.child is not None:
            self.child.send(signal.SIGTERM)

    def await_stop(self, end_s: float) -> None:
        if self.child is not None and not self.child.exited.wait(max(0.0, end_s - monotonic_s())):
            self.child.end(signal.SIGKILL, STOP_S)

    def _ended(self, code: int, now_s: float) -> list[News]:
        if code == 0 and self.job.ends:
            self.done = True
            return []
        if code == MISCONFIGURED:
            self.done = True
            return [News(self.job.name, self._message(), fatal=True)]
        self._crashes = 0 if now_s - self._started_s > STEADY_S else self._crashes
        pause_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._crashes, 10))
        self._crashes += 1
        self._due_s = now_s + pause_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return [News(self.job.name, f"ended with {how}; restarts in {pause_s:g} s; log: {self._log}")]

    def _errors(self) -> list[str]:
        """New errors in the log, each message once in the life of a process. A log of an earlier run is not read."""
        if self.child is None or not self._log.exists():
            return []
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read(LOG_BYTES_MAX)
        text = text[: text.rfind(b"\n") + 1]  # a line that is still being written is for the next time
        self._read_to += len(text)
        lines = [line[:LINE_MAX] for line in text.decode(errors="replace").splitlines() if _ERROR.search(line)]
        loud = [line for line in lines if self._pattern is None or not self._pattern.search(line)]
        self.counted += len(lines) - len(loud)
        fresh = [said for line in loud if (said := _FRAME.sub("", line)) not in self._told]
        if len(self._told) < TOLD_MAX:
            self._told.update(fresh)
        return list(dict.fromkeys(fresh))[:LINES_MAX]

    def _message(self) -> str:
        """What the process said last."""
        lines = self._log.read_text(errors="replace").splitlines()
        said = [line for line in lines if _ERROR.search(line)] or [line for line in lines if line.strip()]
        return (
            _FRAME.sub("", said[-1]).removeprefix("streamapp: ")
            if said
            else f"exit code {MISCONFIGURED} without a message"
        )
