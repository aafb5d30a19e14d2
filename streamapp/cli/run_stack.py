"""The processes of `streamapp run`: what is started in which order, watched, and stopped in the reverse one.

1  the embedded broker     2  topics     3  capture, every group's workers     4  the simulator
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from streamapp.agents.registry import AGENTS
from streamapp.clock import monotonic_s
from streamapp.directory import open_directory
from streamapp.errors import Misconfigured, Refused, StreamError, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.broker import Broker
from streamapp.kafka.child import free_port, listens
from streamapp.kafka.jars import KAFKA_VERSION, present
from streamapp.kafka.provision import apply
from streamapp.ops.lag import group_lag
from streamapp.ops.supervisor import Job, Supervisor
from streamapp.settings import Settings
from streamapp.sinks.archive_store import open_archive
from streamapp.sinks.ledger import open_ledger
from streamapp.topics.plan import Plan
from streamapp.topics.registry import GROUPS, TOPICS, group, topic

HISTORY_HOURS = 12
PLAY_S = 60.0  # in which the history is played
HISTORY_RATE = 3000
LIVE_RATE = 50
TICK_S = 0.2
STATUS_S = 2.0
DRAIN_TIMEOUT_S = 60.0
SETTLED_S = 1.5  # for the few records that may hide among the markers
DEMO_TOKEN = "ha_demo"
READY_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 15.0
STAGES = {"billing-agg": 2}  # before those who read what it writes
# Group, topic, and how many offsets at its end may be markers of transactions: one of each worker's partition.
CHAINS = (("billing-agg", "llm_usage", 0), ("billing-ledger", "billing_events", topic("llm_usage").partitions))


class Stack:
    """Everything that runs. Leaving the context stops all of it; nothing outlives this process.

    Raises `Refused` when another run uses the state, or a port is taken.
    """

    def __init__(self, settings: Settings, console: Console, stop: threading.Event) -> None:
        self.settings = settings
        self.logs = settings.state_dir / "logs"
        self.simulated = False
        self._console, self._stop = console, stop
        self._broker: Broker | None = None
        self._supervisor: Supervisor | None = None
        self._web_port = settings.web.port or free_port()
        self._capture_port = settings.capture.port or free_port()
        self._lock = _take_lock(settings.state_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop_jobs()
        if self._broker is not None:
            self._broker.stop()
        os.close(self._lock)

    def start_kafka(self) -> None:
        """The broker, unless the environment names one, and the topics of the registry.

        Raises `Misconfigured` for settings that a child would refuse, `Refused` for a port that is taken.
        """
        open_ledger(self.settings.ledger)
        open_archive(self.settings.archive, self.settings.archive_url)
        open_directory(self.settings.directory)
        for port, name in ((self._web_port, "WEB"), (self._capture_port, "CAPTURE")):
            if listens(port):
                raise Refused(f"port {port} is taken: set STREAM_{name}__PORT to another (0: a free one)")
        kafka = self.settings.kafka
        if "bootstrap_servers" not in kafka.model_fields_set:
            self._broker = _broker(self.settings)
            if not present(self.settings.cache_dir):
                self._console.print(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, once) …")
            self._broker.start()
            kafka = kafka.model_copy(update={"bootstrap_servers": self._broker.bootstrap})
            self.settings = self.settings.model_copy(update={"kafka": kafka})
        self._admin = Admin(kafka)
        done = self._provisioned(kafka.replication_factor)
        self._console.print(f"Kafka at {kafka.bootstrap_servers} · {len(TOPICS)} topics, {len(done.changes)} changes")
        for drift in done.drifts:
            self._console.print(f"! {drift}", style="yellow", markup=False)

    def start_jobs(self, play_s: float, for_s: float | None) -> None:
        """Workers, ledger and simulator; returns when the first page answers."""
        write_directory(self.settings)
        workers = worker_jobs(self.settings, self._web_port, self._capture_port)
        jobs = (*workers, simulate_job(self.settings, play_s, for_s))
        self._supervisor = Supervisor(jobs, self.logs)
        self._supervisor.start()
        end_s = monotonic_s() + READY_TIMEOUT_S
        while not listens(self._web_port) and not self._stop.wait(TICK_S):
            self._tick()
            if monotonic_s() > end_s:
                raise Unavailable(f"no worker is ready after {READY_TIMEOUT_S:g} s; see {self.logs}/billing-agg-1.log")

    def urls(self) -> str:
        """Where to look, and how to send a first event."""
        door = f"http://{self.settings.capture.host}:{self._capture_port}"
        event = f'{{"api_key": "{DEMO_TOKEN}", "event": "hello", "distinct_id": "me"}}'
        token = "" if self.settings.directory is None else f" (api_key: a token of {self.settings.directory})"
        first = f"send an event:    curl {door}/e/ -d '{event}'{token}"
        return f"bills and tables: http://{self.settings.web.host}:{self._web_port}/\n{first}"

    def watch(self, over: Callable[[], bool]) -> None:
        """Keep all running and show how it goes, until `over()` or a signal to stop.

        Raises `Misconfigured` with a child's words when it says that a person must change something.
        """
        shown_s = 0.0
        with self._console.status("starting") as status:
            while not self._stop.wait(TICK_S) and not over():
                self._tick()
                if monotonic_s() - shown_s >= STATUS_S:
                    shown_s = monotonic_s()
                    status.update(self._progress())

    def drain(self) -> None:
        """Wait until every group has read everything; after a minute go on, and say so."""
        end_s, read_s = monotonic_s() + DRAIN_TIMEOUT_S, None
        while not self._stop.wait(TICK_S):
            self._tick()
            lags = self._lags()
            if any(lags):
                read_s = None
            elif read_s is None:
                read_s = monotonic_s()
            elif monotonic_s() - read_s >= SETTLED_S:
                return
            if monotonic_s() > end_s:
                self._console.print(f"going on with {sum(lags):,} records unread", style="yellow")
                return

    def stop_jobs(self) -> None:
        """Simulator first, then workers, then ledger."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None

    def _provisioned(self, replication_factor: int) -> Plan:
        # A broker that has just come back answers before it knows which of its partitions it leads.
        end_s = monotonic_s() + SETTLE_TIMEOUT_S
        while True:
            try:
                return apply(self._admin, TOPICS, replication_factor)
            except (Refused, Unavailable):
                if monotonic_s() > end_s or self._stop.wait(TICK_S):
                    raise

    def _tick(self) -> None:
        assert self._supervisor is not None
        for news in self._supervisor.tick(monotonic_s()):
            if news.fatal:
                raise Misconfigured(f"{news.name}: {news.text}")
            self._console.print(f"{news.name}: {news.text}", style="red", markup=False, soft_wrap=True)
        self.simulated = self._supervisor.done("simulate")
        if self._broker is not None and self._broker.pid is None:
            self._console.print(f"the broker ended; starting it again; log: {self._broker.data_dir}/broker.log")
            self._broker.kill()  # lets go of its data
            self._broker.start()

    def _progress(self) -> str:
        try:
            partitions = [("llm_usage", number) for number in range(topic("llm_usage").partitions)]
            sent, lags = sum(self._admin.end_offsets(partitions).values()), self._lags()
        except StreamError as error:
            return str(error)  # it may pass; a worker that cannot go on says so itself
        behind = " · ".join(f"{group} {lag:,} behind" for (group, _, _), lag in zip(CHAINS, lags, strict=True))
        return f"{sent:,} usage records · {behind}"

    def _lags(self) -> list[int]:
        return [group_lag(self._admin, group, (source,), markers) for group, source, markers in CHAINS]


def worker_jobs(settings: Settings, web_port: int, capture_port: int = 0) -> tuple[Job, ...]:
    """What the Procfile names, for this machine: capture, and every group with as many workers as it is registered."""
    kafka = ("STREAM_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    page = ("STREAM_WEB__PORT", str(web_port))
    door = (
        kafka,
        ("STREAM_CAPTURE__PORT", str(capture_port)),
        ("STREAM_DIRECTORY", str(settings.directory or demo_directory(settings))),
    )
    jobs = [Job("capture", (sys.executable, "-m", "streamapp", "capture"), stage=1, environment=door)]
    for name, module, _ in AGENTS:
        count = group(name).consumers
        for number in range(1, count + 1):
            job = f"{name}-{number}" if count > 1 else name
            jobs.append(Job(job, _faust(module), stage=STAGES.get(name, 3), environment=(kafka, page)))
    return tuple(jobs)


def simulate_job(settings: Settings, play_s: float, for_s: float | None) -> Job:
    """A history that is played in `play_s`, then the present; for ever, or `for_s` seconds in all."""
    shape = {
        "--hours": HISTORY_HOURS,
        "--events": round(HISTORY_RATE * play_s),
        "--rate": HISTORY_RATE,
        "--live-rate": LIVE_RATE,
    }
    numbers = [text for name, value in shape.items() for text in (name, str(value))]
    until = ["--forever"] if for_s is None else ["--for", f"{for_s:.1f}"]
    command = (sys.executable, "-m", "streamapp", "simulate", "--continue", "--json", *numbers, *until)
    kafka = ("STREAM_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    return Job("simulate", command, stage=1, ends=True, environment=(kafka,))


def demo_directory(settings: Settings) -> Path:
    """The team directory of a run that was given none."""
    return settings.state_dir / "directory.toml"


def write_directory(settings: Settings) -> None:
    """Make it, unless it is there: somebody may have added teams."""
    if settings.directory is None and not demo_directory(settings).exists():
        demo_directory(settings).write_text(f'[teams.team_demo]\norg = "org_demo"\ntokens = ["{DEMO_TOKEN}"]\n')


def wipe(settings: Settings) -> None:
    """Remove what earlier runs left in the state directory: the broker's data, tables, ledger, archive, logs; nothing
    else.

    Raises `Refused` where something is kept outside of it, because half of a fresh start is none.
    """
    if "bootstrap_servers" in settings.kafka.model_fields_set:
        raise Refused("--fresh cannot wipe a Kafka of its own: unset STREAM_KAFKA__BOOTSTRAP_SERVERS, or leave it out")
    if settings.ledger_url is not None:
        raise Refused("--fresh cannot wipe a ledger of its own: unset STREAM_LEDGER_URL, or leave it out")
    if settings.archive.url is not None:
        raise Refused("--fresh cannot wipe an archive of its own: unset STREAM_ARCHIVE__URL, or leave it out")
    if settings.broker.port and listens(settings.broker.port):
        raise Refused(f"port {settings.broker.port} is taken: stop the broker there before its data are wiped")
    broker_dir = settings.broker.dir or settings.state_dir / "broker"
    if broker_dir.exists() and not (broker_dir / "server.properties").exists():
        raise Refused(f"{broker_dir} is not a broker's data directory; nothing was wiped")
    ours = (settings.state_dir / name for name in ("logs", "archive", *(one.name for one in GROUPS)))
    for folder in (broker_dir, *ours):
        shutil.rmtree(folder, ignore_errors=True)
    for file in settings.state_dir.glob("ledger.db*"):
        file.unlink()


def _broker(settings: Settings) -> Broker:
    broker = settings.broker
    folder = broker.dir or settings.state_dir / "broker"
    return Broker(folder, port=broker.port, cache_dir=settings.cache_dir, heap_mb=broker.heap_mb)


def _faust(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "faust", "--loop=uvloop", "-A", module, "worker", "-l", "info")


def _take_lock(state_dir: Path) -> int:
    state_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state_dir / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Refused(f"another `streamapp run` uses {state_dir}; stop it, or set STREAM_STATE_DIR") from None
    return descriptor
