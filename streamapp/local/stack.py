"""The processes of `streamapp run`: what is started in which order, watched, and stopped in the reverse one.

1  the embedded broker   2  topics   3  the first group's workers, until its page answers
4  the simulator, services and the other workers, a few at a time: each needs a processor to itself for a second or two
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from streamapp.broker.jars import KAFKA_VERSION, present
from streamapp.clock import monotonic_s
from streamapp.directory.teams import open_directory
from streamapp.errors import Misconfigured, Refused, StreamError, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.local.console import Front, Screen
from streamapp.local.jobs import (
    fed_topics,
    registered_workers,
    service_jobs,
    service_ports,
    settings_here,
    simulate_job,
    worker_jobs,
)
from streamapp.local.kafka import LocalKafka, shown
from streamapp.local.news import Reporter
from streamapp.local.reading import Drained, behind_text, progress_text, readings, standings
from streamapp.local.state import DEMO_TOKEN, take_lock, write_directory
from streamapp.local.wanted import Follower, Wanted
from streamapp.processes.child import free_port, listens
from streamapp.processes.launch import Launch
from streamapp.processes.supervisor import Job, Supervisor
from streamapp.settings import Settings
from streamapp.sinks.registry import SINKS, declared
from streamapp.topics.plan import Plan
from streamapp.topics.registry import TOPICS, port_offset

PLAY_S = 60.0  # in which the history is played
TICK_S = 0.2
STATUS_S = 10.0
ANSWER_S = 2.0  # nothing is watched while Kafka is asked
SHOW_S = 0.5
DRAIN_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 60.0
# dead-letter-monitor tells its log of each incident. The demo sends invalid events on purpose: they are counted here.
INCIDENT = re.compile(r"\[ERROR\] (?:\[[^\]]*\]: ?)?incident (?:opened|grown): ")
STARTING_MAX = max(2, os.cpu_count() or 1)  # processes on their way up at a time


class Stack:
    """Everything that runs. Leaving the context stops all of it; nothing outlives this process.

    Raises `Refused` when another run uses the state, or a port is taken.
    """

    def __init__(
        self,
        settings: Settings,
        groups: Sequence[str],
        console: Console,
        stop: threading.Event,
        secure: bool = False,
    ) -> None:
        self._ports = service_ports(settings)
        self.settings = settings_here(settings, self._ports)
        self.logs = settings.state_dir / "logs"
        self._up_since_s: float | None = None
        self._groups, self._fed, self._readings = groups, fed_topics(groups), readings(groups)
        self._console, self._stop = console, stop
        self._kafka = LocalKafka(self.settings, secure)
        self._supervisor: Supervisor | None = None
        self._launch = Launch((), STARTING_MAX)
        self._web_port = settings.web.port or free_port()  # workers take those behind it, too
        self._front = Front(f"http://{settings.web.host}:{self._page_port}/")
        self._reporter = Reporter(self._say, self.logs)
        self._status = "starting"
        self._lock = take_lock(settings.state_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._front.stop()
        self.stop_jobs()
        self._kafka.stop()
        os.close(self._lock)

    def start_kafka(self) -> None:
        """The broker, unless the environment names one, and the topics of the registry.

        Raises `Misconfigured` for settings that a child would refuse, `Refused` for a port that is taken.
        """
        for name, _ in SINKS:
            declared(name).destination(self.settings)
        open_directory(self.settings.directory)
        for name, port in {"web": self._web_port, **self._ports}.items():
            if listens(port):
                raise Refused(f"port {port} is taken: set STREAM_{name.upper()}__PORT to another (0: a free one)")
        if self._kafka.is_own:
            if not present(self.settings.cache_dir):
                self._console.print(f"Fetching Apache Kafka {KAFKA_VERSION} (45 MB, once) …")
            self._console.print("Starting Kafka …")
        kafka = self._kafka.start()
        self.settings = self.settings.model_copy(update={"kafka": kafka})
        self._admin = Admin(kafka)
        done = self._provisioned(kafka.replication_factor)
        rights = self._kafka.give_rights(self._fed)
        changed = f", {len(done.changes)} of them created or changed" if done.changes else ""
        self._console.print(f"Kafka is ready at {kafka.bootstrap_servers}: {len(TOPICS)} topics{changed}.")
        if rights:
            self._console.print(rights)
        for drift in done.drifts:
            self._say(str(drift))
        self._console.print("Starting the first workers …")

    def start_workers(self) -> None:
        """The first group's workers; returns when its page answers. The others follow while `watch` runs."""
        write_directory(self.settings)
        wanted = Wanted(self.settings.state_dir)
        wanted.begin(registered_workers(self._groups))
        workers = self._workers(registered_workers(self._groups))
        services = service_jobs(self.settings, self._ports, self._kafka.logins)
        first = [job for job in workers if job.command == workers[0].command]
        others = [job for job in workers if job not in first]
        self._supervisor = Supervisor((*services, *workers), self.logs, INCIDENT)
        self._follower = Follower(wanted, self._supervisor, self._workers)
        self._supervisor.start(*(job.name for job in first))
        end_s = monotonic_s() + READY_TIMEOUT_S
        while not listens(self._page_port) and not self._stop.wait(TICK_S):
            self._tick()
            if monotonic_s() > end_s:
                raise Unavailable(
                    f"no worker is ready after {READY_TIMEOUT_S:g} s; see {self.logs}/{first[0].name}.log"
                )
        self._launch = Launch((*services, *others), STARTING_MAX)
        self._front.start()

    def start_simulator(self, play_s: float) -> None:
        """A history in `play_s` seconds, then the present until it is stopped."""
        assert self._supervisor is not None
        self._supervisor.add(simulate_job(self.settings, self._fed, play_s, self._kafka.logins))
        self._supervisor.start("simulate")

    def stop_simulator(self) -> None:
        """Let it send what is under way, and end."""
        assert self._supervisor is not None
        self._supervisor.stop("simulate")

    @property
    def up_for_s(self) -> float:
        """Seconds since every process was up, or had its time; 0 before."""
        return 0.0 if self._up_since_s is None else monotonic_s() - self._up_since_s

    def welcome(self, length: str) -> str:
        """Where the pages are and what to try. `length` says when the run ends."""
        pages = f"http://{self.settings.web.host}:{self._page_port}"
        lines = [
            f"Pages: {pages}/",
            "  groups, lag and money: / · bills: /usage · dead letters: /letters",
            "",
            "Try next:",
        ]
        lines += [f"  {what}\n    {command}" for what, command in self._tries(pages)]
        return "\n".join([*lines, "", f"Logs: {self.logs}/ · {length}"])

    def _tries(self, pages: str) -> list[tuple[str, str]]:
        assert self._supervisor is not None
        tries = []
        if "billing-agg" in self._groups:
            script = f"{shown(sys.executable)} docs/send_usage.py"
            tries.append(
                (f"Send a model call, then see it at {pages}/usage?team=team_abc123", self._kafka.told(script))
            )
        if "capture" in self._ports:
            url = f"http://{self.settings.capture.host}:{self._ports['capture']}/e/"
            event = f'{{"api_key": "{DEMO_TOKEN}", "event": "hello", "distinct_id": "me"}}'
            token = "" if self.settings.directory is None else f" (api_key: a token of {self.settings.directory})"
            seen = f"then see it at {pages}/events?topic=events_plugin_ingestion"
            tries.append((f"Send an event as a browser does{token}, {seen}", f"curl {url} -d '{event}'"))
        command = shown(str(Path(sys.executable).with_name("streamapp")))
        tries.append((f"Give {self._groups[0]} more workers", f"{command} scale {self._groups[0]} 4"))
        for name in self._supervisor.running:
            if name.startswith(self._groups[0]):
                tries.append(
                    (f"Kill {name}: it restarts, and no bill changes", f"kill -9 {self._supervisor.pid(name)}")
                )
                break
        return tries

    def watch(self, over: Callable[[], bool]) -> None:
        """Keep all running and show how it goes, until `over()` or a signal to stop.

        Raises `Misconfigured` with a child's words when it says that a person must change something.
        """
        asked_s = shown_s = float("-inf")
        with Screen(self._console, self._front, self._groups, lambda: self._status, self._incidents) as screen:
            while not self._stop.wait(TICK_S) and not over():
                self._tick()
                if self._up_since_s is None and self._launch.done:
                    self._up_since_s = monotonic_s()
                if monotonic_s() - asked_s >= STATUS_S:
                    self._status, asked_s = self._progress(), monotonic_s()
                if monotonic_s() - shown_s >= SHOW_S:
                    screen.refresh()
                    shown_s = monotonic_s()

    def drain(self) -> None:
        """Wait until every group has read everything; when none gets on for a minute go on, and say so."""
        drained = Drained()
        while not self._stop.wait(TICK_S):
            self._tick()
            now = standings(self.settings.kafka, self._readings)
            if drained.done(now, monotonic_s()):
                return
            if drained.still_s(monotonic_s()) > DRAIN_TIMEOUT_S:
                self._say(
                    f"Not everything is read, and nothing has moved for {DRAIN_TIMEOUT_S:g} s: {behind_text(now)}"
                )
                return

    def tell_rest(self) -> None:
        """Tell every problem that is known by now."""
        self._tick()
        self._reporter.flush()

    def stop_jobs(self) -> None:
        """Stage by stage: whoever sends, then each group before those who read what it writes, then what they need."""
        Wanted(self.settings.state_dir).end()
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None

    def _workers(self, counts: Mapping[str, int]) -> tuple[Job, ...]:
        return worker_jobs(self.settings, self._web_port, self._ports, counts, self._kafka.logins)

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
        news = self._supervisor.tick(monotonic_s())
        for one in news:
            if one.fatal:
                raise Misconfigured(f"{one.name}: {one.text}")
        self._reporter.add(news, monotonic_s())
        if self._launch.done:
            for done in self._follower.follow():
                self._say(done)
        if ended := self._kafka.revive():
            self._reporter.kafka(False, ended, 0)

    def _progress(self) -> str:
        try:
            now = standings(self.settings.kafka, self._readings, ANSWER_S)
            text = progress_text(now, self._fed)
        except StreamError as error:
            # Of its own broker nobody need be asked whether it runs and where.
            why = "Kafka does not answer" if self._kafka.is_own else str(error)
            self._reporter.unanswered(why, monotonic_s())
            return "waiting for Kafka"  # a worker that cannot go on says so itself
        self._reporter.kafka(True, "", monotonic_s())
        launch = self._launch
        return text if launch.done else f"starting: {launch.up} of {launch.total} other processes are up"

    def _incidents(self) -> int:
        return 0 if self._supervisor is None else self._supervisor.counted

    def _say(self, text: str) -> None:
        """Something that a person may want to look into."""
        self._console.print(text, style="yellow", markup=False, soft_wrap=True)

    @property
    def _page_port(self) -> int:
        """Of the first worker of the first group."""
        return self._web_port + port_offset(self._groups[0])


def _is_up(job: Job) -> bool:
    return not job.port or listens(job.port)
