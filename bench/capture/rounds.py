"""One run: a real broker, every front up for the whole of it, and the same load to each in turn.

Load by load, not front by front: whatever else the machine does meanwhile meets everybody.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.capture.bodies import BATCH, EVENTS, PATHS, SINGLE, requests
from bench.capture.figures import Figures, Load, problems_of
from bench.capture.fronts import TOPIC, Front, Place
from bench.load import PROJECT, ROOM, broker
from bench.proc import Use, use_of
from bench.watch import started
from streamapp.broker.broker import Broker
from streamapp.broker.train import train
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import spans
from streamapp.kafka.provision import apply
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS

CONNECTIONS = {SINGLE: 256, BATCH: 64}
READY_S = 60.0
WARM_S = 2.0
LOAD_S_MAX = 120.0  # beyond the load's own seconds: it waits a minute for missing answers
BUSY_REQUESTS_MIN = 1.0  # per second, at half load

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Up:
    """A front that answers."""

    front: Front
    port: int
    pid: int


def rounds(fronts: Sequence[Front], count: int, seconds: float, told: Told) -> Iterator[Figures]:
    """The figures of every front, kind of request and round, as they come. Raises RuntimeError when a front does not
    start or the load fails."""
    folder = ROOM / "run" / "fronts"
    shutil.rmtree(folder, ignore_errors=True)
    train(PROJECT / ".cache")
    try:
        with broker(folder / "broker") as running, _up(fronts, running.bootstrap, folder) as ups:
            for up in ups:
                for kind in EVENTS:
                    told(f"warming up {up.front.name}")
                    _loaded(up, running, kind, WARM_S, 0)
            for number in range(1, count + 1):
                for kind in EVENTS:
                    for up in ups if number % 2 else reversed(ups):  # nobody is always first
                        told(f"round {number}: {up.front.name}, {kind}")
                        yield _measured(up, running, kind, number, seconds)
    finally:
        shutil.rmtree(folder / "broker", ignore_errors=True)


@contextmanager
def _up(fronts: Sequence[Front], bootstrap: str, folder: Path) -> Iterator[list[Up]]:
    apply(Admin(KafkaSettings(bootstrap_servers=bootstrap)), TOPICS, 1)
    ups = []
    with ExitStack() as stack:
        for front in fronts:
            place = Place(bootstrap, free_port(), folder / front.name)
            place.folder.mkdir(parents=True)
            command, environment = front.command(place), front.environment(place)
            (process,) = stack.enter_context(started((command,), environment, place.folder, signal.SIGTERM))
            _await_answer(front, place, process)
            ups.append(Up(front, place.port, process.pid))
        yield ups


def _await_answer(front: Front, place: Place, process: subprocess.Popen[bytes]) -> None:
    """Until an event is answered 200."""
    request = requests(SINGLE, HOST)[0]
    body = request.partition(b"\r\n\r\n")[2]
    end_s = time.monotonic() + READY_S
    while True:
        connection = HTTPConnection(HOST, place.port, timeout=5)
        try:
            connection.request("POST", PATHS[SINGLE], body, {"Content-Type": "application/json"})
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass  # it does not listen yet
        finally:
            connection.close()
        if process.poll() is not None or time.monotonic() > end_s:
            said = (place.folder / "1.log").read_text(errors="replace").splitlines()[-15:]
            raise RuntimeError("\n".join([f"{front.name} does not answer:", *said]))
        time.sleep(0.1)


def _measured(up: Up, broker: Broker, kind: str, number: int, seconds: float) -> Figures:
    """As many as it takes, then half as many."""
    full = _loaded(up, broker, kind, seconds, 0)
    rate = max(full.requests / full.seconds / 2, BUSY_REQUESTS_MIN)
    half = _loaded(up, broker, kind, seconds, rate)
    return Figures(up.front.name, kind, number, full, half)


def _loaded(up: Up, broker: Broker, kind: str, seconds: float, rate: float) -> Load:
    before, use, broker_use = _records(broker), use_of([up.pid]), _broker_use(broker)
    arguments = [str(up.port), kind, str(CONNECTIONS[kind]), str(seconds), str(rate)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.capture.load", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=seconds + LOAD_S_MAX,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load of {up.front.name} failed: {done.stderr}")
    seen = json.loads(done.stdout)
    after, broker_after = use_of([up.pid]), _broker_use(broker)
    records = _records(broker) - before
    return Load(
        requests=sum(seen["statuses"].values()),
        events=seen["statuses"].get("200", 0) * EVENTS[kind],
        seconds=seen["seconds"],
        cpu_us=after.cpu_us - use.cpu_us,
        broker_cpu_us=broker_after.cpu_us - broker_use.cpu_us,
        rss_bytes=after.rss_bytes,
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        problems=problems_of(seen["statuses"], EVENTS[kind], records),
    )


def _broker_use(broker: Broker) -> Use:
    return use_of([broker.pid or 0])


def _records(broker: Broker) -> int:
    """How many records the topic has ever been given."""
    return sum(span.end for span in spans({"bootstrap.servers": broker.bootstrap}, TOPIC).values())
