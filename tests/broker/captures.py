"""Processes of `streamapp capture`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from capture_calls import DIRECTORY
from conftest import wait_until

from streamapp.broker.broker import Broker
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS

WAIT_S = 60.0


class Capture:
    """A process of it."""

    def __init__(self, broker: Broker, folder: Path, port: int, **settings: object) -> None:
        (folder / "directory.toml").write_text(DIRECTORY)
        self.port, self.log = port, folder / f"capture-{port}.log"
        given = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_")}
        given |= {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "STREAM_CAPTURE__PORT": str(port),
            "STREAM_DIRECTORY": str(folder / "directory.toml"),
            **{f"STREAM_{name.upper()}": str(value) for name, value in settings.items()},
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "streamapp", "capture"]
            self.process = subprocess.Popen(command, env=given, stdout=log, stderr=log)

    def ask(self, body: bytes = b"", path: str = "/batch/", method: str = "POST", **headers: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(
                method, path, body or None, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.ask(method="GET", path="/health/ready")[0] == 200
        except (OSError, HTTPException):
            return False

    def memory_kb(self, peak: bool = False) -> int:
        """The memory it has, or the most that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        name = "VmHWM:" if peak else "VmRSS:"
        return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])

    def stop(self) -> int:
        """SIGTERM; how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@contextmanager
def captures(folder: Path) -> Iterator[Callable[..., Capture]]:
    """What starts processes, ready to take events; those of it are ended."""
    made: list[Capture] = []

    def begin(broker: Broker, port: int | None = None, **settings: object) -> Capture:
        apply(Admin(KafkaSettings(bootstrap_servers=broker.bootstrap)), TOPICS, 1)
        made.append(Capture(broker, folder, port or free_port(), **settings))
        wait_until(made[-1].ready, WAIT_S)
        return made[-1]

    try:
        yield begin
    finally:
        for one in made:
            one.process.kill()
            one.process.wait()
