"""The processes of ours, and what all manifests call them.

`PROCESSES` has one line per process that is no worker. A line is all that it takes to run another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from streamapp.access.wanted import LAG_MONITOR, PROVISIONER, RECONCILER
from streamapp.agents.registry import AGENTS
from streamapp.broker.secure import ADMIN
from streamapp.cli.lists import WORKER
from streamapp.settings import Settings
from streamapp.topics.registry import INTERNAL_TOPICS, SCHEMA_REGISTRY, group, port_offset

PRINCIPAL = "hanzo.ai/kafka-principal"
NAME, PART, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/component"
PROJECT, KAFKA = "hanzo-stream", "insights-kafka"
IMAGE, OPERATOR_IMAGE, USER_ID = "hanzo-stream", "hanzo-stream-operator", 10001  # as the Dockerfile has it
TLS_PORT, CONTROLLER_PORT, BROKER_METRICS, MONITOR_PORT = 9093, 9094, 9404, 9100
NAMESPACE_NAME = "kubernetes.io/metadata.name"
PROMETHEUS, INGRESS = "monitoring", "ingress-nginx"  # namespaces
Manifest = dict[str, Any]


class Process(NamedTuple):
    """A process of ours. `port` is where its pages are, `host` the setting of their address. `stores`: it speaks to
    databases and to the archive. `rows`: size of a volume of its own for the rows of its table. `once`: a job, of
    `limit_s` seconds at most. `asks`: it asks the workers' pages. `pages`: it is a worker, and shows them."""

    name: str
    command: tuple[str, ...]
    principal: str
    component: str
    port: int = 0
    host: str = ""
    replicas: int = 1
    memory: tuple[str, str] = ("256Mi", "512Mi")
    cpu: tuple[str, str] = ("100m", "1")
    stores: bool = False
    rows: str = ""
    once: bool = False
    limit_s: int = 1800
    asks: bool = False
    pages: bool = False
    image: str = IMAGE


_DEFAULT = Settings.model_construct()
PROCESSES: tuple[Process, ...] = (
    Process("capture", ("streamapp", "capture"), "insights-capture", "capture", _DEFAULT.capture.port, "CAPTURE", 2),
    Process("reconcile", ("streamapp", "reconcile"), RECONCILER, "service", _DEFAULT.reconcile.port, "RECONCILE",
            memory=("512Mi", "2Gi"), stores=True),
    # The money that is open is in the tables of billing groups: watch asks their workers.
    Process("watch", ("streamapp", "watch"), LAG_MONITOR, "service", _DEFAULT.watch.port, "WATCH", asks=True),
    Process("schema-registry", ("streamapp", "registry"), SCHEMA_REGISTRY, "registry", _DEFAULT.registry.port,
            "REGISTRY"),
    Process("access", ("streamapp", "access", "apply"), ADMIN, "job", once=True),
    Process("topics", ("streamapp", "topics", "apply"), PROVISIONER, "job", once=True),
)  # fmt: skip
OPERATOR = Process("operator", ("sleep", "infinity"), ADMIN, "job", memory=("512Mi", "1Gi"), once=True, limit_s=86_400,
                   image=OPERATOR_IMAGE)  # fmt: skip
"""A pod for a person's commands that need Kafka's own tools, for a day: the component `operator`."""


def workers() -> Iterator[Process]:
    """The workers of every group that has an agent, as many as the standard says. A table that is kept by key needs its
    rows at hand: its workers have volumes; they are rebuilt from the changelog where one is lost."""
    for name, module, _ in AGENTS:
        keyed = any(name in item.producers and item.table and item.keyed for item in INTERNAL_TOPICS)
        command = tuple(word or module for word in WORKER)
        port, registered = _DEFAULT.web.port + port_offset(name), group(name)
        yield Process(
            name, command, registered.principal, "worker", port, "WEB", registered.consumers, ("512Mi", "1Gi"),
            ("250m", "1"), True, "10Gi" if keyed else "", asks=True, pages=True,
        )  # fmt: skip


def everything() -> tuple[Process, ...]:
    """Every process of ours, in the order of the files."""
    return (*workers(), *PROCESSES)


def labels(one: Process) -> dict[str, str]:
    return {NAME: one.name, PART: PROJECT, COMPONENT: one.component}


def monitor_port(one: Process) -> int:
    """Where a process answers /metrics without asking who asks: workers count from it as from their port."""
    return MONITOR_PORT + (port_offset(one.name) if one.component == "worker" else 0)


def meta(name: str, given: Mapping[str, str] = {}) -> Manifest:
    return {"name": name, "labels": {PART: PROJECT, **given}}


def in_namespace(name: str) -> Manifest:
    return meta(name) | {"namespace": "hanzo"}
