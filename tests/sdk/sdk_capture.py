"""A real capture process on a real broker, and relays before it that note what clients ask and what they are told."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import forked
from conftest import wait_until

from streamapp.broker.broker import Broker
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import read
from streamapp.kafka.provision import apply
from streamapp.processes.child import HOST, Child, free_port
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS

TOPIC = "events_plugin_ingestion"
TEAM, TOKEN, ORG = "team_abc123", "ha_0123456789abcdef0123456789abcdef", "org_hanzo"
READY_S = 60
EVENT_PATHS = ("/e/", "/batch/", "/i/v0/e/")
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
REQUEST = re.compile(rb"(GET|POST|OPTIONS) (/\S*) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)


class Exchange(NamedTuple):
    """A request, and the status it was answered with; None while it is not."""

    method: str
    path: str
    headers: dict[str, str]
    status: int | None

    @property
    def carries_events(self) -> bool:
        return self.method == "POST" and self.path.startswith(EVENT_PATHS)


class Arrived(NamedTuple):
    """A record of the topic."""

    key: str
    partition: int
    timestamp_ms: int
    event: dict[str, Any]


def once(arrived: Iterable[Arrived]) -> list[Arrived]:
    """What whoever reads the topic counts: the first record of each id. What came again is the same event."""
    first: dict[str, Arrived] = {}
    for one in arrived:
        assert _lasting(one) == _lasting(first.setdefault(one.event["id"], one))
    return list(first.values())


def _lasting(arrived: Arrived) -> Any:
    """What stays when an event is sent again: all but when it was sent, and so by which clock it happened."""
    event, data = arrived.event, arrived.event["data"]
    return arrived.key, arrived.partition, {**event, "timestamp": None, "data": {**data, "sent_at": None}}


class Relay:
    """Passes bytes both ways, and keeps them. `url` is where clients are pointed at. While `answering` is not set, what
    clients are told stays here."""

    def __init__(self, port: int) -> None:
        self.answering = threading.Event()
        self.answering.set()
        self._port = port
        self._kept: list[tuple[bytearray, bytearray]] = []  # of each connection: asked, told
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and hold nothing back."""
        self._listener.close()
        self.answering.set()

    def exchanges(self) -> list[Exchange]:
        """Every request that carried events, connection by connection. The clients send one at a time on each."""
        found = [exchange for asked, told in tuple(self._kept) for exchange in _exchanges(bytes(asked), bytes(told))]
        return [exchange for exchange in found if exchange.carries_events]

    def statuses(self) -> set[int | None]:
        """What they were answered."""
        return {exchange.status for exchange in self.exchanges()}

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._port))
                asked, told = bytearray(), bytearray()
                self._kept.append((asked, told))
                for way in ((client, server, asked), (server, client, told, self.answering)):
                    threading.Thread(target=_pass_on, args=way, daemon=True).start()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to this port while the block runs."""
    running = Relay(port)
    try:
        yield running
    finally:
        running.close()


def _exchanges(asked: bytes, told: bytes) -> list[Exchange]:
    statuses = map(int, STATUS.findall(told))
    return [
        Exchange(method.decode(), path.decode(), _headers(lines), status)
        for (method, path, lines), status in zip_longest(REQUEST.findall(asked), statuses)
    ]


def _pass_on(
    source: socket.socket, sink: socket.socket, kept: bytearray, held_by: threading.Event | None = None
) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if held_by is not None:
                held_by.wait()
            kept += data
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _headers(lines: bytes) -> dict[str, str]:
    pairs = (line.partition(": ") for line in lines.decode("latin-1").split("\r\n"))
    return {name.lower(): value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Running:
    """Capture, and the broker behind it."""

    broker: Broker
    port: int

    def arrived(self, team: str = TEAM) -> list[Arrived]:
        """Every event of a team in the topic, in its order."""
        records = read({"bootstrap.servers": self.broker.bootstrap, "fetch.wait.max.ms": 20}, TOPIC)
        found = [
            Arrived((one.key or b"").decode(), one.partition, one.timestamp_ms, json.loads(one.value or b""))
            for one in records
        ]
        return [one for one in found if one.key == team]


@contextmanager
def capture(
    broker: Broker, folder: Path, teams: Mapping[str, str], settings: Mapping[str, str] = {}
) -> Iterator[Running]:
    """Capture on this broker, ready; ended with the block.

    `teams`: team → token. `settings` are variables of its environment.
    """
    apply(Admin(KafkaSettings(bootstrap_servers=broker.bootstrap)), TOPICS, 1)
    directory = folder / "directory.toml"
    directory.write_text("".join(f'[teams.{t}]\norg = "{ORG}"\ntokens = ["{token}"]\n' for t, token in teams.items()))
    port, log = free_port(), folder / "capture.log"
    environment = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "STREAM_CAPTURE__PORT": str(port),
        "STREAM_DIRECTORY": str(directory),
        "STREAM_STATE_DIR": str(folder / "state"),
        **settings,
    }
    assignments = [f"{name}={value}" for name, value in environment.items()]
    process = Child(
        "/usr/bin/env", [*assignments, sys.executable, "-m", "streamapp", "capture"], log, start=forked.started
    )

    def ready() -> bool:
        assert not process.exited.is_set(), log.read_text()[-3000:]
        return status(port, "/health/ready") == 200

    try:
        wait_until(ready, READY_S)
        yield Running(broker, port)
    finally:
        process.end(signal.SIGTERM, 20)


def status(port: int, path: str) -> int | None:
    """The status that a page is answered with; None when nobody answers."""
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
