"""Workers and commands that are forked (`fork_server.py`), seen from the tests.

All of them share one seed of hashes: a test that compares the bytes of two processes starts them with `spawned`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from streamapp.chaos.worker import BILLING, WorkerProcess
from streamapp.processes.child import spawned

PROGRAM = Path(__file__).with_name("fork_server.py")


class Forked:
    """A worker; like `subprocess.Popen`, as far as `Child` asks."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self._started, self.ended = threading.Event(), threading.Event()

    def told(self, started: int | None, ended: int | None) -> None:
        """The server's answer: the process id, then the exit code."""
        if started is not None:
            self.pid = started
            self._started.set()
        if ended is not None:
            self.returncode = ended
            self.ended.set()

    def wait_started(self) -> None:
        assert self._started.wait(60), "the fork server does not answer"

    def wait(self) -> int | None:
        self.ended.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """The server, seen from the tests. It ends when its input does, and its workers with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._workers: list[Forked] = []
        self._turn = threading.Lock()
        threading.Thread(target=self._listen, name="fork-server", daemon=True).start()

    def start(self, environment: Mapping[str, str], module: Sequence[str], files: Sequence[Path | str]) -> Forked:
        """Fork one. `files`: its input, its output and where it reports errors, by path."""
        worker, stdin = Forked(), self._process.stdin
        assert stdin is not None
        request = {"environment": dict(environment), "argv": module, "files": [*map(str, files)], "cwd": os.getcwd()}
        with self._turn:
            self._workers.append(worker)
            print(json.dumps(request), file=stdin, flush=True)
        worker.wait_started()
        return worker

    def end(self) -> None:
        """End it and what it started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, started, ended = json.loads(line)
            self._workers[number].told(started, ended)


_server: list[Server] = []
_making = threading.Lock()


def server() -> Server:
    """The one of this process; made by who asks first."""
    with _making:
        if not _server:
            _server.append(Server())
        return _server[0]


def end() -> None:
    """End the server, if there is one."""
    while _server:
        _server.pop().end()


def worker(log: Path, environment: Mapping[str, str], agent: str = BILLING, code: Path | None = None) -> WorkerProcess:
    """A worker, by fork. One with code of a test's own is started as a process: such code takes the place of ours
    before anybody has imported it."""
    return WorkerProcess(log, environment, agent, code, start=started if code is None else spawned)


def command(
    *words: str, answer: str = "", timeout_s: float = 120, environment: Mapping[str, str] = {}, **more: str
) -> subprocess.CompletedProcess[str]:
    """`streamapp WORDS` to its end, by fork, with these variables beside our own; `answer` is what a person types."""
    return ran("streamapp", *words, answer=answer, timeout_s=timeout_s, environment={**environment, **more})


def ran(
    module: str, *words: str, answer: str = "", timeout_s: float = 120, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE WORDS` in the same way."""
    with tempfile.TemporaryDirectory() as folder:
        stdin, stdout, stderr = files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        stdin.write_text(answer)
        process = server().start({**os.environ, **environment}, [module, *words], files)
        if not process.ended.wait(timeout_s):
            process.kill()
            raise AssertionError(f"{words} did not end: {stdout.read_text()}{stderr.read_text()}")
        assert process.returncode is not None
        return subprocess.CompletedProcess(words, process.returncode, stdout.read_text(), stderr.read_text())


def started(program: str, arguments: list[str], console: Path) -> subprocess.Popen[bytes]:
    """`/usr/bin/env NAME=VALUE … python -m MODULE …`, by fork: as `streamapp.processes.child.spawned`."""
    assert program == "/usr/bin/env"
    python = arguments.index(sys.executable)
    environment = os.environ | dict(assignment.split("=", 1) for assignment in arguments[:python])
    assert arguments[python + 1] == "-m"
    worker = server().start(environment, arguments[python + 2 :], (os.devnull, console, console))
    return cast("subprocess.Popen[bytes]", worker)
