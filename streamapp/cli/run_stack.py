"""The processes of `streamapp run`: what is started in which order, watched, and stopped in the reverse one.

1  the embedded broker   2  topics   3  the first group's workers, until its page answers
4  the simulator, services and the other workers, a few at a time: each needs a processor to itself for a second or two
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console

from streamapp.cli.run_jobs import fed_topics, service_jobs, service_ports, settings_here, simulate_job, worker_jobs
from streamapp.cli.run_reading import Drained, behind_text, progress_text, readings
from streamapp.cli.run_state import DEMO_TOKEN, take_lock, write_directory
from streamapp.clock import monotonic_s
from streamapp.directory import open_directory
from streamapp.errors import Misconfigured, Refused, StreamError, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.broker import Broker
from streamapp.kafka.child import free_port, listens
from streamapp.kafka.jars import KAFKA_VERSION, present
from streamapp.kafka.provision import apply
from streamapp.ops.lag import standings
from streamapp.ops.launch import Launch
from streamapp.ops.supervisor import Job, Supervisor
from streamapp.settings import Settings
from streamapp.sinks.archive_store import open_archive
from streamapp.sinks.ledger import open_ledger
from streamapp.topics.plan import Plan
from streamapp.topics.registry import TOPICS, port_offset

PLAY_S = 60.0  # in which the history is played
TICK_S = 0.2
STATUS_S = 2.0
DRAIN_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 15.0
STARTING_MAX = max(2, os.cpu_count() or 1)  # processes on their way up at a time


class Stack:
    """Everything that runs. Leaving the context stops all of it; nothing outlives this process.

    Raises `Refused` when another run uses the state, or a port is taken.
    """

    def __init__(self, settings: Settings, groups: Sequence[str], console: Console, stop: threading.Event) -> None:
        self._ports = service_ports(settings)
        self.settings = settings_here(settings, self._ports)
        self.logs = settings.state_dir / "logs"
        self.simulated = self._simulating = False
        self._groups, self._fed, self._readings = groups, fed_topics(groups), readings(groups)
        self._console, self._stop = console, stop
        self._broker: Broker | None = None
        self._supervisor: Supervisor | None = None
        self._launch = Launch((), STARTING_MAX)
        self._web_port = settings.web.port or free_port()  # workers take those behind it, too
        self._lock = take_lock(settings.state_dir)

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
        for name, port in {"web": self._web_port, **self._ports}.items():
            if listens(port):
                raise Refused(f"port {port} is taken: set STREAM_{name.upper()}__PORT to another (0: a free one)")
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

    def start_workers(self) -> None:
        """The first group's workers; returns when its page answers. The others follow while `watch` runs."""
        write_directory(self.settings)
        workers = worker_jobs(self.settings, self._web_port, self._ports, self._groups)
        services = service_jobs(self.settings, self._ports)
        first = [job for job in workers if job.command == workers[0].command]
        others = [job for job in workers if job not in first]
        self._supervisor = Supervisor((*services, *workers), self.logs)
        self._supervisor.start(*(job.name for job in first))
        end_s = monotonic_s() + READY_TIMEOUT_S
        while not listens(self._page_port) and not self._stop.wait(TICK_S):
            self._tick()
            if monotonic_s() > end_s:
                raise Unavailable(
                    f"no worker is ready after {READY_TIMEOUT_S:g} s; see {self.logs}/{first[0].name}.log"
                )
        self._launch = Launch((*services, *others), STARTING_MAX)

    def start_simulator(self, play_s: float, for_s: float | None) -> None:
        """A history in `play_s` seconds, then the present: for ever, or `for_s` seconds in all."""
        assert self._supervisor is not None
        self._supervisor.add(simulate_job(self.settings, self._fed, play_s, for_s))
        self._supervisor.start("simulate")
        self._simulating = True

    def urls(self) -> str:
        """Where to look, and how to send a first event."""
        pages = f"pages of all groups: http://{self.settings.web.host}:{self._page_port}/"
        if "capture" not in self._ports:
            return pages
        door = f"http://{self.settings.capture.host}:{self._ports['capture']}"
        event = f'{{"api_key": "{DEMO_TOKEN}", "event": "hello", "distinct_id": "me"}}'
        token = "" if self.settings.directory is None else f" (api_key: a token of {self.settings.directory})"
        return f"{pages}\nsend an event:       curl {door}/e/ -d '{event}'{token}"

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
        end_s, drained = monotonic_s() + DRAIN_TIMEOUT_S, Drained()
        while not self._stop.wait(TICK_S):
            self._tick()
            now = standings(self._admin, self._readings)
            if self._launch.done and drained.done(now, monotonic_s()):
                return
            if monotonic_s() > end_s:
                self._console.print(f"going on, not everything was read; {behind_text(now)}", style="yellow")
                return

    def stop_jobs(self) -> None:
        """Stage by stage: whoever sends, then each group before those who read what it writes, then what they need."""
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
        if due := self._launch.due(_is_up, monotonic_s()):
            self._supervisor.start(*due)
        for news in self._supervisor.tick(monotonic_s()):
            if news.fatal:
                raise Misconfigured(f"{news.name}: {news.text}")
            self._console.print(f"{news.name}: {news.text}", style="red", markup=False, soft_wrap=True)
        self.simulated = self._simulating and self._supervisor.done("simulate")
        if self._broker is not None and self._broker.pid is None:
            self._console.print(f"the broker ended; starting it again; log: {self._broker.data_dir}/broker.log")
            self._broker.kill()  # lets go of its data
            self._broker.start()

    def _progress(self) -> str:
        try:
            text = progress_text(standings(self._admin, self._readings), self._fed)
        except StreamError as error:
            return str(error)  # it may pass; a worker that cannot go on says so itself
        launch = self._launch
        return text if launch.done else f"{launch.up} of {launch.total} more processes are up · {text}"

    @property
    def _page_port(self) -> int:
        """Of the first worker of the first group."""
        return self._web_port + port_offset(self._groups[0])


def _is_up(job: Job) -> bool:
    return not job.port or listens(job.port)


def _broker(settings: Settings) -> Broker:
    broker = settings.broker
    folder = broker.dir or settings.state_dir / "broker"
    return Broker(folder, port=broker.port, cache_dir=settings.cache_dir, heap_mb=broker.heap_mb)
