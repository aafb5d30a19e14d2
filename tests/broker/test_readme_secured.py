"""README's "On your Kafka", as it is written, on a broker with locks on: every process as its own user, end to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from conftest import PROJECT, wait_until

from streamapp.access.wanted import LAG_MONITOR, principals
from streamapp.broker.secure import Secured
from streamapp.local.reading import readings as readings_of
from streamapp.local.reading import standings
from streamapp.processes.child import Child, free_port, listens
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS, port_offset
from streamapp.verify.pairs import NAMES

SECTION = re.compile(r"^## On your Kafka$(.*?)^## ", re.MULTILINE | re.DOTALL)
SENDING = re.compile(r"^## Sending usage$.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNS_ON = re.compile(r" (worker -l info|streamapp (capture|reconcile|watch|registry))( |$)")
ENDS = {"topics plan": 2}  # there is work to do
PRODUCERS = {"llm-gateway": "llm_usage", "bot-gateway": "agent_rpc_metering", "iam-service": "audit_log"}
SECRETS = "/run/secrets"
TOKEN = "ha_0123456789abcdef"
UP_S, DONE_S = 120, 120


def section() -> tuple[list[str], list[str]]:
    """The settings and the definition of `as`; the commands. Without comments."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    found = SECTION.search(readme)
    assert found is not None
    capture = next(block for block in BLOCK.findall(readme) if "streamapp capture" in block)
    text = "".join(BLOCK.findall(found[1])) + capture
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    commands = [line for line in lines if line.startswith("as ")]
    return [line for line in lines if line and line not in commands], commands


class Terminal:
    """A shell with README's settings, of which those that name somebody's machines name this one's."""

    def __init__(self, folder: Path, settings: list[str], bootstrap: str, secrets: Path) -> None:
        self.folder, self.count = folder, 0
        self.ports = {name: free_port() for name in ("CAPTURE", "RECONCILE", "WATCH", "REGISTRY", "CLICKHOUSE", "WEB")}
        self.monitor_port = free_port() + 100
        (folder / "directory.toml").write_text(f'[teams.team_abc123]\norg = "org_hanzo"\ntokens = ["{TOKEN}"]\n')
        here = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "STREAM_KAFKA__REPLICATION_FACTOR": "1",
            "STREAM_LEDGER_URL": f"sqlite:///{folder}/ledger.db",
            "STREAM_CLICKHOUSE__URL": f"http://127.0.0.1:{self.ports['CLICKHOUSE']}",
            "STREAM_ARCHIVE__URL": f"file://{folder}/archive",
        }
        self.settings = [line.replace(SECRETS, str(secrets)) for line in settings]
        for name, value in here.items():
            assert any(line.startswith(f"export {name}=") for line in self.settings), name
            self.settings.append(f"export {name}={value}")

    def script(self, line: str) -> list[str]:
        """What a shell runs for a line of README. It becomes the program that the line names: a signal reaches that."""
        programs = [f'PATH="{Path(sys.executable).parent}:$PATH"']
        programs += [f'{name}() {{ exec "$(type -P {name})" "$@"; }}' for name in ("faust", "streamapp", "python")]
        return ["/bin/bash", "-c", "\n".join(["set -eu", *programs, *self.settings, f"cd {self.folder}", line])]

    def environment(self) -> Mapping[str, str]:
        """What keeps the processes apart from others on this machine, and lets them write soon."""
        ports = {f"STREAM_{name}__PORT": str(port) for name, port in self.ports.items()}
        soon = {"STREAM_ARCHIVE__FLUSH_SECONDS": "1", "STREAM_BILLING__IDLE_SECONDS": "2"}
        cache = {"STREAM_CACHE_DIR": str(PROJECT / ".cache"), "STREAM_STATE_DIR": str(self.folder / "state")}
        return {
            **ports,
            **soon,
            **cache,
            "STREAM_SETTLEMENT__IDLE_SECONDS": "2",
            "STREAM_WEB__MONITOR_PORT": str(self.monitor_port),
        }

    def run(self, line: str) -> str:
        """What a command says that ends by itself."""
        expected = next((code for words, code in ENDS.items() if line.endswith(words)), 0)
        environment = {**os.environ, **self.environment()}
        done = subprocess.run(
            self.script(line), env=environment, capture_output=True, text=True, check=False, timeout=DONE_S
        )
        assert done.returncode == expected, (line, done.stdout + done.stderr)
        return done.stdout

    def kafka(self, user: str) -> KafkaSettings:
        """How this user reaches the broker."""
        script = f"as {user} env"
        said = subprocess.run(self.script(script), capture_output=True, text=True, check=True, timeout=DONE_S).stdout
        given = dict(line.partition("=")[::2] for line in said.splitlines() if line.startswith("STREAM_KAFKA__"))
        return KafkaSettings(**{name.removeprefix("STREAM_KAFKA__").lower(): value for name, value in given.items()})

    def monitored(self) -> set[str]:
        """Where processes said that their metrics are."""
        logs = "".join(log.read_text() for log in self.folder.glob("log-*"))
        return set(re.findall(r"metrics on (http://\S+)", logs))

    @contextmanager
    def running(self, lines: list[str], ports: list[int]) -> Iterator[None]:
        """Run these until the block ends, and then end each as a service manager does."""
        started: list[tuple[str, Path, Child]] = []
        try:
            for line in lines:
                self.count += 1
                log = self.folder / f"log-{self.count}"
                given = [f"{name}={value}" for name, value in self.environment().items()]
                started.append((line, log, Child("/usr/bin/env", [*given, *self.script(line)], log)))
            wait_until(lambda: all(map(listens, ports)) or any(child.exited.is_set() for *_, child in started), UP_S)
            yield
            for line, log, child in started:
                assert not child.exited.is_set(), (line, log.read_text()[-3000:])
        finally:
            with ThreadPoolExecutor(len(lines)) as pool:
                list(pool.map(lambda one: one[-1].end(signal.SIGTERM, 60), started))


@pytest.fixture
def terminal(tmp_path: Path, cache_dir: Path) -> Iterator[Terminal]:
    """On a new broker that knows every principal of the matrix, and on which nobody but `admin` may do anything."""
    made = Secured(tmp_path / "security", cache_dir)
    secrets = tmp_path / "security" / "secrets"
    for one in principals():
        made.user(one.name)
    shutil.copy(made.ca_file, secrets / "kafka-ca.pem")
    with made.broker(tmp_path / "broker") as broker:
        yield Terminal(tmp_path, section()[0], broker.bootstrap, secrets)


def drained(kafka: KafkaSettings) -> bool:
    """Whether every group has read everything that there is."""
    readings = readings_of([each.name for each in GROUPS])
    found = standings(kafka, readings)
    return not sum(one.lag for one in found) and all(one.end for one in found)


def captured(port: int, number: int) -> None:
    """One event of a client library; Kafka has it."""
    event = {"api_key": TOKEN, "event": "seen", "distinct_id": f"person_{number}"}
    request = Request(f"http://127.0.0.1:{port}/e/", json.dumps(event).encode())
    with urlopen(request, timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.long  # a minute; what each process may do is tested apart, in test_access.py and test_access_mutation.py
@pytest.mark.timeout(600)
def test_everything_runs_with_exactly_its_rights_to_a_verdict_without_a_difference(terminal: Terminal) -> None:
    _, commands = section()
    running = [line for line in commands if RUNS_ON.search(line)]
    first = commands[: commands.index(running[0])]
    last = [line for line in commands if line not in (*running, *first)]
    assert len(running) == len(GROUPS) + 4
    assert first[0] == "as admin streamapp access apply"
    assert last == ["as reconciler streamapp verify"]
    web, capture = terminal.ports["WEB"], terminal.ports["CAPTURE"]
    jobs = [terminal.ports[name] for name in ("CAPTURE", "RECONCILE", "WATCH", "REGISTRY")]
    ports = [web + port_offset(each.name) for each in GROUPS] + jobs
    (terminal.folder / "send.py").write_text(SENDING.findall((PROJECT / "README.md").read_text(encoding="utf-8"))[0])

    with terminal.running(["streamapp clickhouse"], [terminal.ports["CLICKHOUSE"]]):
        for line in first:
            terminal.run(line)
        with terminal.running(running, ports):
            assert "Receipt(event_id='evt_" in terminal.run("as llm-gateway python send.py")
            for user, topic in PRODUCERS.items():
                terminal.run(f"as {user} streamapp simulate --json --events 2000 --bad 0.01 --topic {topic}")
            for number in range(20):
                captured(capture, number)
            assert len(terminal.monitored()) == len(running), "each process has a port for Prometheus"
            for url in terminal.monitored():
                with urlopen(url, timeout=30) as answer:
                    assert answer.status == 200
            kafka = terminal.kafka(LAG_MONITOR)
            wait_until(lambda: drained(kafka), DONE_S)
            report = json.loads(terminal.run(f"{last[0]} --json"))
            assert report["ok"], report
            assert {pair["name"]: pair["difference"] for pair in report["pairs"]} == dict.fromkeys(NAMES, 0)
            assert all(pair["events"] for pair in report["pairs"])
            assert "0 changes" in terminal.run("as admin streamapp access apply"), "and nobody has one too many"
