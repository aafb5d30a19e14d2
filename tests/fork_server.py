"""Starts workers by fork: one process has imported what every worker imports, and each worker is a copy of it.

To import Faust, aiokafka and pydantic takes 1.5 s of processor time; a worker of a test often lives no longer. A copy
becomes what `python -m MODULE ARGUMENTS` would have become: it has the environment, the arguments, the output and the
session that it is given, it is the main program, and it ends as Python ends.

`forked.py` starts this program and asks it. A line of the input is a request, a line of the output an answer.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any

from streamapp.clock import wall_ms
from streamapp.web import render, static

PRELOADED = (
    "faust.cli.faust",
    "confluent_kafka.admin",
    "streamapp.agents.pages",
    "streamapp.meters.usage.table",
    "streamapp.schemas.catalog",
)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def serve() -> dict[str, Any]:
    """Fork a worker for each line of the input, and say what becomes of them. Returns in each worker: its request."""
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    numbers: dict[int, int] = {}
    for number, request in enumerate(_requests(waking, numbers)):
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(waking)
            os.close(wake)
            return request
        numbers[pid] = number
        print(json.dumps([number, pid, None]), flush=True)
    os._exit(0)


def _requests(waking: int, numbers: dict[int, int]) -> Iterator[dict[str, Any]]:
    rest = b""
    while True:
        readable, _, _ = select.select([0, waking], [], [])
        if waking in readable:
            os.read(waking, 4096)
        _reap(numbers)
        if 0 in readable:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)


def _reap(numbers: dict[int, int]) -> None:
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        print(json.dumps([numbers.pop(pid), None, os.waitstatus_to_exitcode(status)]), flush=True)


def _reopen(number: int, path: str, how: int) -> None:
    file = os.open(path, how, 0o644)
    os.dup2(file, number)
    os.close(file)


def become(request: dict[str, Any], parent: int) -> None:
    """Be the program that was asked for."""
    os.setsid()
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    stdin, stdout, stderr = request["files"]
    _reopen(0, stdin, os.O_RDONLY)
    _reopen(1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if stderr == stdout:
        os.dup2(1, 2)
    else:
        _reopen(2, stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    module, *arguments = request["argv"]
    sys.path[0] = request["cwd"]
    sys.argv = [module, *arguments]
    package = hasattr(sys.modules.get(module), "__path__")
    runpy.run_module(f"{module}.__main__" if package else module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    render.Renderer(wall_ms, static.Files(), ())  # every worker compiles the same templates
    gc.freeze()
    me = os.getpid()
    become(serve(), me)
