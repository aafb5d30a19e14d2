"""The load: a process of its own, so that its CPU is not counted. Raw sockets and requests made beforehand.

`python -m bench.capture.load <port> <kind> <connections> <seconds> <requests/s or 0>` prints one line of JSON. With a
rate of 0 every connection sends its next request when it has its answer (saturation). With a rate, requests are due at
even moments whatever the answers do, and an answer's time counts from when its request was due.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import cast

import uvloop

from bench.capture.bodies import requests

TICK_S = 0.001
ANSWERS_S = 60.0  # after the last request, for the answers that are still missing
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one load saw. `seconds` is from the first request to the last answer."""

    statuses: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._held = b""
        self._due_s: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def ask(self, request: bytes, due_s: float) -> None:
        """Send a request that was due at a moment."""
        assert self._transport is not None
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        length = whole(held)
        if length is None:
            self._held = held
            return
        self._held = held[length:]
        due_s, self._due_s = self._due_s, None
        if due_s is not None:
            self._load.answered(self, held[9:12].decode(), due_s)

    def connection_lost(self, error: Exception | None) -> None:
        if self._due_s is not None:
            self._load.answered(self, "lost", self._due_s)


def whole(held: bytes) -> int | None:
    """How many bytes of `held` are its first answer, head and body; None when some are missing."""
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = end + 4
    for line in held[:end].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length += int(line[15:])
    return length if len(held) >= length else None


class Load:
    """Sends until `end`, then waits for the answers that are missing."""

    def __init__(self, asked: list[bytes], seconds: float, rate: float) -> None:
        self._requests = cycle(asked)
        self._seconds, self._rate = seconds, rate
        self._statuses: Counter[str] = Counter()
        self._took_s: list[float] = []
        self._idle: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._under_way = 0
        self._over = False
        self._all_answered = asyncio.Event()
        self._end_s = 0.0
        self._last_s = 0.0

    async def run(self, port: int, connections: int) -> Seen:
        """Open the connections, send, and wait for every answer."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(self), HOST, port) for _ in range(connections)]
        self._idle.extend(protocol for _, protocol in made)
        began_s = time.perf_counter()
        self._end_s = began_s + self._seconds
        await (self._evenly(began_s) if self._rate else self._at_once())
        self._over = True
        self._look_for_end()
        async with asyncio.timeout(ANSWERS_S):
            await self._all_answered.wait()
        for transport, _ in made:
            transport.close()
        return self._seen(self._last_s - began_s)

    async def _at_once(self) -> None:
        while self._idle:
            self._ask(self._idle.popleft(), time.perf_counter())
        await asyncio.sleep(self._seconds)

    async def _evenly(self, began_s: float) -> None:
        sent = 0
        while (now_s := time.perf_counter()) < self._end_s:
            while began_s + sent / self._rate <= now_s:
                self._due.append(began_s + sent / self._rate)
                sent += 1
            self._send_due()
            await asyncio.sleep(TICK_S)

    def answered(self, connection: Connection, status: str, due_s: float) -> None:
        """A connection has its answer, or was lost."""
        self._last_s = time.perf_counter()
        self._under_way -= 1
        self._statuses[status] += 1
        self._took_s.append(self._last_s - due_s)
        if status != "lost" and self._rate:
            self._idle.append(connection)
            self._send_due()
        elif status != "lost" and self._last_s < self._end_s:
            self._ask(connection, self._last_s)
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._over and not self._under_way and not self._due:
            self._all_answered.set()

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._ask(self._idle.popleft(), self._due.popleft())

    def _ask(self, connection: Connection, due_s: float) -> None:
        self._under_way += 1
        connection.ask(next(self._requests), due_s)

    def _seen(self, seconds: float) -> Seen:
        ordered = sorted(self._took_s)
        p50, p99, longest = (
            round(1000 * ordered[min(int(len(ordered) * q), len(ordered) - 1)], 2) for q in (0.5, 0.99, 1)
        )
        return Seen(dict(self._statuses), seconds, p50, p99, longest)


def main(port: str, kind: str, connections: str, seconds: str, rate: str) -> None:
    """The command line."""
    load = Load(requests(kind, f"{HOST}:{port}"), float(seconds), float(rate))
    print(json.dumps(asdict(uvloop.run(load.run(int(port), int(connections))))))


if __name__ == "__main__":
    main(*sys.argv[1:])
