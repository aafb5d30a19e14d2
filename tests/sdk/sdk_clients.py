"""The real clients, each a program that is asked by JSON and answers with JSON (see `client_*`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from conftest import wait_until
from sdk_capture import TOKEN
from sdk_packages import NODE

HERE = Path(__file__).parent
PROGRAMS = {
    "python": (sys.executable, "client_python.py"),
    "node": (str(NODE), "client_node.cjs"),
    "browser": (sys.executable, "client_browser.py"),
}
END_S = 120


class Told(NamedTuple):
    """What a client says it sent: uuid → event; and what went wrong."""

    uuids: dict[str, str]
    errors: list[str]


class Client:
    """A client at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def go_on(self) -> None:
        """Let it do what it waits with."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self, condition: Callable[[], object], timeout_s: float) -> None:
        """Wait for a condition; fail at once, with what the client said, when it breaks off before."""

        def holds() -> bool:
            met = bool(condition())
            assert met or not self._process.poll(), self._process.communicate()[1][-3000:]
            return met

        wait_until(holds, timeout_s)

    def finish(self) -> Told:
        """Let it end, and hear what it sent. Fails with what it said when it did not work."""
        out, err = self._process.communicate(timeout=END_S)
        assert self._process.returncode == 0, err[-3000:]
        return Told(**json.loads(out.splitlines()[-1]))


@contextmanager
def client(name: str, url: str, modules: Path, flavor: str = "", many: int = 0, token: str = TOKEN) -> Iterator[Client]:
    """A client pointed at `url`; it makes a tour of everything, or sends `many` plain events."""
    asked: dict[str, Any] = {"host": url, "token": token, "flavor": flavor, "many": many, "modules": str(modules)}
    program, script = PROGRAMS[name]
    process = subprocess.Popen(
        [program, str(HERE / script), json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
