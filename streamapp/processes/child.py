"""A child process that cannot outlive its parent, and ports of the loopback interface to give it."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from streamapp.errors import Refused, Unavailable

HOST = "127.0.0.1"

# Becomes the JVM by exec. The kernel ends it when the thread that started it is gone, whatever killed the parent:
# prctl(PR_SET_PDEATHSIG = 1, SIGKILL). SIGKILL, because nobody would be left to see a slow stop. Linux only; elsewhere
# an orphan is possible.
LAUNCH = """\
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

# A run with all its parts takes five ports, a worker beside another the port next to it: a block is plenty of both.
PORTS = range(20_000, 32_000)
BLOCK = 200
BLOCKS = len(PORTS) // BLOCK


def spawned(program: str, arguments: list[str], console: Path) -> subprocess.Popen[bytes]:
    """Start a process that ends with the thread that called. Raises `OSError`."""
    command = [sys.executable, "-ISc", LAUNCH, str(os.getpid()), program, *arguments]
    with console.open("wb") as out:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


Start = Callable[[str, list[str], Path], subprocess.Popen[bytes]]


class Child:
    """A process that cannot outlive us, in its own session, so that Ctrl-C at the terminal reaches us alone.

    The kernel ties it to the thread that started it; so that thread is one of our own and waits for it.
    """

    def __init__(self, program: str, arguments: list[str], console: Path, start: Start = spawned) -> None:
        self.exited = threading.Event()
        started: SimpleQueue[subprocess.Popen[bytes] | OSError] = SimpleQueue()
        work = program, arguments, console, start, started
        threading.Thread(target=self._run, args=work, name="child", daemon=True).start()
        process = started.get()
        if isinstance(process, OSError):
            raise Unavailable(f"{program} could not be started: {process}")
        self._process = process
        self.pid: int = process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there; a frozen one is."""
        return not self.exited.is_set()

    @property
    def exit_code(self) -> int | None:
        """How it ended, a signal as its negative number; None while it runs."""
        return None if self.runs else self._process.returncode

    def send(self, what: signal.Signals) -> None:
        """Send the signal and do not wait. Does nothing when it has ended."""
        self._process.send_signal(what)

    def end(self, how: signal.Signals, timeout_s: float) -> None:
        """Send the signal and wait; after `timeout_s` end it by force. Does nothing when it has ended."""
        self.send(how)
        if not self.exited.wait(timeout_s):
            self._process.kill()
            self.exited.wait()

    def _run(
        self,
        program: str,
        arguments: list[str],
        console: Path,
        start: Start,
        started: SimpleQueue[subprocess.Popen[bytes] | OSError],
    ) -> None:
        try:
            process = start(program, arguments, console)
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()
        self.exited.set()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, below the range the system hands to outgoing
    connections: so that no client can take it while the broker is down between two starts.

    Nor can another process of this user: each takes its ports from a block of its own. One process never gets the same
    port twice in a row. Raises `Refused` when every block is taken.
    """
    ports = _own_ports()
    while True:
        port = next(ports)
        if not _taken(port):
            return port


@cache
def _own_ports() -> Iterator[int]:
    return itertools.cycle(claim_block(os.getpid()))


def claim_block(wanted: int) -> range:
    """Ports that no other process of this user is given while this one lives: the wanted block or the next free one.

    Raises `Refused` when every block is taken.
    """
    path = Path(tempfile.gettempdir()) / f"streamapp-ports-{os.getuid()}"
    claims = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # never closed: that would let go of the block
    for number in range(BLOCKS):
        block = (wanted + number) % BLOCKS
        with suppress(OSError):
            fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, block)  # let go by the system with this process
            return PORTS[block * BLOCK : (block + 1) * BLOCK]
    raise Refused(f"{BLOCKS} processes hold ports already (locks on {path}); end some")


def refuse_taken_port(port: int) -> None:
    """Raises `Refused` when somebody listens on this port of the loopback interface."""
    if _taken(port):
        raise Refused(f"port {port} is taken: a broker runs there already, or choose another port (0: a free one)")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former owner do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
