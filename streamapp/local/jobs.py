"""The processes of `streamapp run`, as jobs: services, every group's workers, the simulator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from streamapp.access.wanted import LAG_MONITOR, RECONCILER
from streamapp.agents.registry import AGENTS
from streamapp.errors import Refused
from streamapp.local.state import demo_directory
from streamapp.local.wanted import worker_names
from streamapp.processes.child import HOST, free_port
from streamapp.processes.supervisor import Job
from streamapp.settings import KafkaSettings, Settings
from streamapp.simulate.topics import STREAMS
from streamapp.topics.registry import EVERY_GROUP, GROUPS, REDRIVER, SCHEMA_REGISTRY, group, port_offset, writers

HISTORY_HOURS = 12
HISTORY_RATE = 3000
LIVE_RATE = 50

# What is stopped when: whoever sends, then each group before those who read what it writes, then what groups need.
SENDERS, FIRST_GROUPS, STORES = 1, 2, 9


class Service(NamedTuple):
    """A command of ours beside the workers: `streamapp NAME`, on the port of its section of the settings.

    `found_by` is the field of that section that tells workers its address, if they need it. Where somebody has set it,
    the service runs elsewhere, and none is started here. `user`: who it is to Kafka, if it asks.
    """

    name: str
    stage: int
    found_by: str | None = None
    user: str | None = None


SERVICES: tuple[Service, ...] = (
    #       name         stopped with
    Service("capture", SENDERS, user="insights-capture"),
    Service("clickhouse", STORES, "url"),
    Service("reconcile", SENDERS, "url", RECONCILER),
    Service("watch", SENDERS, "url", LAG_MONITOR),
    Service("registry", SENDERS, user=SCHEMA_REGISTRY),
)
SIMULATOR = "simulator"  # who writes what other teams' services do

LIVELY: tuple[tuple[str, str], ...] = (
    ("archive.flush_seconds", "5"),
    ("reconcile.interval_seconds", "20"),
)
"""Setting (`section.field`) → its value in a run that somebody watches, for all processes, unless it is set: what
waits for minutes elsewhere should be seen soon here."""


def service_ports(settings: Settings) -> dict[str, int]:
    """Service → its port, of those that are to run here; a free one where the settings say 0."""
    sections: dict[str, Any] = {service.name: getattr(settings, service.name) for service in SERVICES}
    return {
        service.name: sections[service.name].port or free_port()
        for service in SERVICES
        if service.found_by not in sections[service.name].model_fields_set
    }


def settings_here(settings: Settings, ports: Mapping[str, int]) -> Settings:
    """The settings of somebody who finds the services that run here."""
    found = {
        section: getattr(settings, section).model_copy(update={field: url}) for section, field, url in _addresses(ports)
    }
    return settings.model_copy(update=found)


def registered_workers(groups: Collection[str]) -> dict[str, int]:
    """Group → the workers that it is registered with."""
    return {name: group(name).consumers for name in groups}


def chosen_groups(only: Collection[str]) -> tuple[str, ...]:
    """The groups to start, in the order of the registry of agents; all of them by default.

    Raises `Refused` when none of them reads a topic that is simulated: nothing would ever happen.
    """
    chosen = tuple(name for name, _, _ in AGENTS if name in only or not only)
    if not fed_topics(chosen):
        raise Refused(f"{', '.join(chosen)}: nobody writes what they read; add the groups that do")
    return chosen


def fed_topics(groups: Collection[str]) -> tuple[str, ...]:
    """The simulated topics that these groups read."""
    read = {name for each in groups for name in group(each).topics}
    return tuple(one.topic for one in STREAMS if one.topic in read)


class Logins(NamedTuple):
    """How each process of a run reaches Kafka. `of` has the settings of a user; `watcher` is the user that workers'
    pages ask as, where a worker's own may not see everything; they act on dead letters as the redriver."""

    of: Callable[[str], KafkaSettings]
    watcher: str | None = None

    def variables(self, user: str) -> tuple[tuple[str, str], ...]:
        """What a process of this user is told."""
        return self.of(user).variables()

    def pages(self) -> tuple[tuple[str, str], ...]:
        """What a worker is told besides."""
        if self.watcher is None:
            return ()
        found: list[tuple[str, str]] = []
        for what, user in (("KAFKA", self.watcher), ("REDRIVE", REDRIVER)):
            found.append((f"STREAM_WEB__{what}_USERNAME", user))
            found.append((f"STREAM_WEB__{what}_PASSWORD_FILE", str(self.of(user).sasl_password_file)))
        return tuple(found)


def same_for_all(kafka: KafkaSettings) -> Logins:
    """Everybody is the user of these settings, or nobody in particular."""
    return Logins(lambda user: kafka)


def service_jobs(settings: Settings, ports: Mapping[str, int], logins: Logins | None = None) -> tuple[Job, ...]:
    """The services that have a port here."""
    logins = logins or same_for_all(settings.kafka)
    directory = ("STREAM_DIRECTORY", str(settings.directory or demo_directory(settings)))
    jobs = []
    for service in SERVICES:
        if service.name in ports:
            port = (f"STREAM_{service.name.upper()}__PORT", str(ports[service.name]))
            command = (sys.executable, "-m", "streamapp", service.name)
            told = () if service.user is None else logins.variables(service.user)
            environment = (*told, directory, port, *_found(ports), *lively(settings))
            jobs.append(Job(service.name, command, service.stage, environment=environment, port=ports[service.name]))
    return tuple(jobs)


def worker_jobs(
    settings: Settings,
    web_port: int,
    ports: Mapping[str, int],
    workers: Mapping[str, int] | None = None,
    logins: Logins | None = None,
) -> tuple[Job, ...]:
    """What the Procfile names, for this machine. `ports` are those of the services; `workers` says how many each group
    has here, by default as many as it is registered with.
    """
    logins = logins or same_for_all(settings.kafka)
    counts = registered_workers([name for name, _, _ in AGENTS]) if workers is None else workers
    shared = (("STREAM_WEB__PORT", str(web_port)), *_found(ports), *lively(settings), *logins.pages())
    jobs = []
    for name, module, _ in AGENTS:
        environment = (*logins.variables(group(name).principal), *shared)
        command = (sys.executable, "-m", "faust", "--loop=uvloop", "-A", module, "worker", "-l", "info")
        for number, job in enumerate(worker_names(name, counts.get(name, 0))):
            port = web_port + port_offset(name) + number
            jobs.append(Job(job, command, stage_of(name), environment=environment, port=port))
    return tuple(jobs)


def simulate_job(settings: Settings, topics: Sequence[str], play_s: float, logins: Logins | None = None) -> Job:
    """A history that is played in `play_s`, then the present until it is stopped."""
    logins = logins or same_for_all(settings.kafka)
    shape = {
        "--hours": HISTORY_HOURS,
        "--events": round(HISTORY_RATE * play_s),
        "--rate": HISTORY_RATE,
        "--live-rate": LIVE_RATE,
    }
    numbers = [text for name, value in shape.items() for text in (name, str(value))]
    chosen = [text for name in topics for text in ("--topic", name)]
    command = (sys.executable, "-m", "streamapp", "simulate", "--continue", "--json", "--forever", *numbers, *chosen)
    return Job("simulate", command, SENDERS, ends=True, environment=logins.variables(SIMULATOR))


def lively(settings: Settings, defaults: Sequence[tuple[str, str]] = LIVELY) -> tuple[tuple[str, str], ...]:
    """Those of `defaults` that the environment has not set, as variables."""
    wanted = ((name.partition("."), value) for name, value in defaults)
    return tuple(
        (f"STREAM_{section.upper()}__{field.upper()}", value)
        for (section, _, field), value in wanted
        if field not in getattr(settings, section).model_fields_set
    )


def producing_groups(topic_name: str) -> tuple[str, ...]:
    """The groups that write an event topic."""
    producers = writers(topic_name)
    return tuple(
        each.name
        for each in GROUPS
        if topic_name not in each.topics and (each.name in producers or EVERY_GROUP in producers)
    )


def stage_of(name: str) -> int:
    """When a group is stopped: after every group whose work it reads."""
    before = [stage_of(other) for read in group(name).topics for other in producing_groups(read)]
    return max(before, default=FIRST_GROUPS - 1) + 1


def _found(ports: Mapping[str, int]) -> list[tuple[str, str]]:
    """Where the services are that run here, as environment."""
    return [(f"STREAM_{section.upper()}__{field.upper()}", url) for section, field, url in _addresses(ports)]


def _addresses(ports: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Section and field of the settings that tell where a service is, and its address, of those that run here."""
    return [
        (service.name, service.found_by, f"http://{HOST}:{ports[service.name]}")
        for service in SERVICES
        if service.found_by is not None and service.name in ports
    ]
