"""docker-compose.yml end to end, its services as processes: what they bill, keep and archive agrees, and the job that
checks it sees all of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from pods import ENV, IMAGE, PROGRAMS, asked
from prometheus_client.parser import text_string_to_metric_families

from streamapp.agents.registry import AGENTS
from streamapp.broker.broker import Broker
from streamapp.processes.child import HOST, Child, free_port
from streamapp.topics.registry import port_offset

PROJECT = Path(__file__).parents[2]
TOKEN = "stream"  # deploy/tokens speaks of it
EVENTS = 2000
COLUMNS = ("events", "waiting", "failed", "difference")
ALL_DUE = ("bills=ledger", "audit=archive", "events=clickhouse")  # usage of the present hour is billed when it closes
# What takes minutes in the file, where nobody waits for it.
SOON = {
    "STREAM_BILLING__IDLE_SECONDS": "2",
    "STREAM_SETTLEMENT__IDLE_SECONDS": "2",
    "STREAM_ARCHIVE__FLUSH_SECONDS": "2",
    "STREAM_CLICKHOUSE__FLUSH_SECONDS": "1",
    "STREAM_RECONCILE__INTERVAL_SECONDS": "3",
}


class Composition:
    """The services of the file. `places`: a path of a container → where it is here; `network`: the address of a
    service → where it listens here."""

    def __init__(self, folder: Path, bootstrap: str, database: str) -> None:
        text = (PROJECT / "docker-compose.yml").read_text()
        whole = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))  # nobody has set a variable
        self.services, self.folder = whole["services"], folder
        self.files = {name: PROJECT / one["file"] for name, one in whole["configs"].items()}
        self.ports = {name: free_port() for name in ("capture", "reconcile", "watch", "clickhouse", "worker")}
        self.network = {f"http://{name}:": self.ports[name] for name in ("reconcile", "watch", "clickhouse")}
        self.bootstrap, self.database = bootstrap, database
        self.started: dict[str, Child] = {}
        stand_in = folder / "bin" / "hostname"  # `hostname -i` in a container gives its own address
        stand_in.parent.mkdir()
        stand_in.write_text(f"#!/bin/sh\necho {HOST}\n")
        stand_in.chmod(0o755)

    def start(self, name: str) -> None:
        self.started[name] = Child(ENV, self.command(name)[1:], self.console(name))

    def run(self, name: str, command: list[str] | None = None) -> None:
        """A service that ends, and must end well."""
        done = subprocess.run(self.command(name, command), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{name}: {done.returncode} {done.stdout}{done.stderr}"

    def command(self, name: str, command: list[str] | None = None) -> list[str]:
        """What runs a service behind its entrypoint, in its environment and no other."""
        service = self.services[name]
        program, *arguments = command or service["command"]
        entrypoint = [one.replace("$$", "$") for one in service["entrypoint"]]
        given = {**IMAGE, **service["environment"], **SOON, **self._ports(name)}
        made = [f"{variable}={self._here(str(text), name)}" for variable, text in given.items()]
        made.append(f"PATH={self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        words = [*entrypoint, sys.executable, *PROGRAMS[program], *arguments]
        return [ENV, "-i", "-C", str(self.folder), *made, *words]

    def console(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        return f"{name}: {self.console(name).read_text(errors='replace')[-3000:]}"

    def end(self) -> None:
        for child in self.started.values():
            child.end(signal.SIGTERM, 30)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # what is behind the entrypoint, should that be gone

    def _ports(self, name: str) -> dict[str, str]:
        if name in self.ports:
            return {f"STREAM_{name.upper()}__PORT": str(self.ports[name])}
        return {"STREAM_WEB__PORT": str(self.ports["worker"])}

    def _here(self, text: str, name: str) -> str:
        """What a setting of the file is on this machine; a path must be one that the service has mounted."""
        service = self.services[name]
        for one in service["configs"]:
            if text == one["target"]:
                return str(self.files[one["source"]])
        for volume, path in (one.split(":") for one in service["volumes"]):
            if text.removeprefix("file://").startswith(f"{path}/"):
                return text.replace(path, str(self.folder / "volumes" / volume))
        if text == IMAGE["STREAM_STATE_DIR"]:
            return str(self.folder / "state" / name)
        for address, port in self.network.items():
            if text.startswith(address):
                return f"http://{HOST}:{port}"
        return {"kafka:9092": self.bootstrap}.get(text, self.database if text.startswith("postgresql://") else text)


@pytest.fixture
def composition(tmp_path: Path, ready_broker: Broker, postgres_url: str) -> Iterator[Composition]:
    made = Composition(tmp_path, ready_broker.bootstrap, postgres_url)
    engine = Child(
        ENV,
        [
            f"STREAM_CLICKHOUSE__PORT={made.ports['clickhouse']}",
            f"STREAM_STATE_DIR={tmp_path / 'engine'}",
            sys.executable,
            *PROGRAMS["streamapp"],
            "clickhouse",
        ],
        tmp_path / "engine.log",
    )
    try:
        yield made
    finally:
        made.end()
        engine.end(signal.SIGTERM, 30)
        shutil.rmtree(tmp_path / "engine", ignore_errors=True)


def samples(port: int, name: str) -> dict[str, float]:
    """Pair → the value of a metric of the reconciliation."""
    status, body = asked(port, "/metrics", token=TOKEN)
    if status != 200:
        return {}
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        if family.name == name:
            found |= {one.labels["pair"]: one.value for one in family.samples}
    return found


@pytest.mark.long
def test_what_the_services_make_agrees_and_the_job_sees_all_of_it(
    composition: Composition, until: Callable[..., None]
) -> None:
    composition.run("topics")
    workers = [name for name, _, _ in AGENTS]
    for name in (*workers, "capture", "watch", "reconcile"):
        composition.start(name)
    simulate: list[Any] = composition.services["simulate"]["command"]
    shown = [*simulate[: simulate.index("--events")], "--events", str(EVENTS), "--hours", "3", "--json"]
    composition.run("simulate", shown)
    port = composition.ports["reconcile"]

    def settled() -> bool:
        for name, child in composition.started.items():
            assert not child.exited.is_set(), composition.said(name)
        seen, waiting, failed, differs = (samples(port, f"stream_reconciliation_{one}") for one in COLUMNS)
        if (
            not all(seen.get(pair) and not waiting[pair] for pair in ALL_DUE)
            or seen["usage=bills"] == waiting["usage=bills"]
        ):
            return False
        return not any(failed.values()) and not any(differs.values())

    until(settled, 280)
    assert len(samples(port, "stream_reconciliation_difference")) >= 8
    for name in workers:
        status, _ = asked(composition.ports["worker"] + port_offset(name), "/health/ready")
        assert status == 200, composition.said(name)
