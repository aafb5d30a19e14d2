"""The commands of README, as they are written: each runs here, or it is named with the place that runs it.

What a cluster's users run (`as USER COMMAND`) runs here without locks; as those users: `test_readme_secured.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from conftest import PROJECT, wait_until

from streamapp.agents.registry import AGENTS
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import read as read_topic
from streamapp.processes.child import Child, free_port, listens
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS

SECURED = "tests/broker/test_readme_secured.py"
BROKER = ".venv/bin/streamapp broker start"
SEND = ".venv/bin/python docs/send_usage.py"
VERIFY = ".venv/bin/streamapp verify"
PUT_BACK = ".venv/bin/streamapp replay --group billing-agg --to-earliest --yes"
PLAN, APPLY = "as provisioner streamapp topics plan", "as provisioner streamapp topics apply"
CAPTURE = "as insights-capture streamapp capture"
WORKER = "as billing-aggregator faust --loop=uvloop -A streamapp.agents.billing_agg worker -l info"
DIRECTORY = "export STREAM_DIRECTORY=directory.toml"
HERE = {SEND, VERIFY, PLAN, APPLY, CAPTURE, WORKER, DIRECTORY}
AS = re.compile(r"^as [a-z-]+ ")
# Addresses and passwords of a cluster of yours: read by `streamapp settings` below.
OF_A_CLUSTER = ("export STREAM_", "as() {")
ELSEWHERE = {
    "make run": "tests/broker/test_run_twice.py runs what it runs",
    ".venv/bin/streamapp stop billing-agg": "tests/broker/test_run_twice.py",
    PUT_BACK: "the same, and below",
    ".venv/bin/streamapp start billing-agg": "tests/broker/test_run_twice.py",
    "make run FOR=120": "tests/broker/test_run_twice.py, for 20 s",
    "make run SECURE=1": "tests/broker/test_run_twice.py",
    "make test": "runs this",
    "make test-all": "runs this",
    "pip install .": "changes the environment; tests/unit/test_light.py imports what it brings",
    "pip install '.[worker]'": "the same",
    "pip install '.[local]'": "the same",
    "as admin streamapp access apply": SECURED,
    "as reconciler streamapp reconcile": SECURED,
    "as reconciler streamapp verify": SECURED,
    "as lag-monitor streamapp watch": SECURED,
    "as schema-registry streamapp registry": SECURED,
    **{
        f"as {each.principal} faust --loop=uvloop -A {module} worker -l info": SECURED
        for (_, module, _), each in zip(AGENTS, GROUPS, strict=True)
        if each.name != "billing-agg"
    },
}
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEAM = '[teams.team_abc123]\norg = "org_hanzo"\ntokens = ["ha_0123456789abcdef"]\n'


def written() -> list[str]:
    """Every line of README's shell blocks, without its comment."""
    blocks = BLOCK.findall((PROJECT / "README.md").read_text(encoding="utf-8"))
    lines = (line.partition(" #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def words(command: str) -> list[str]:
    """The command, by the programs of this environment, as nobody in particular."""
    program, *arguments = shlex.split(AS.sub("", command))
    return [str(Path(sys.executable).parent / Path(program).name), *arguments]


class Started(Child):
    """A command that runs until it is told to end. What it says goes to a file."""

    def __init__(self, command: str, log: Path, environment: dict[str, str], folder: Path) -> None:
        self.log = log
        assignments = [f"{name}={value}" for name, value in environment.items()]
        super().__init__("/usr/bin/env", ["-C", str(folder), *assignments, *words(command)], log)

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Terminals:
    """Two terminals in the project's folder, with settings that keep everything else away from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.count = folder, free_port(), 0
        self.environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port}",
            "STREAM_BROKER__PORT": str(self.port),
            "STREAM_STATE_DIR": str(folder / "state"),
            "STREAM_WEB__PORT": str(free_port()),
            "STREAM_CAPTURE__PORT": str(free_port()),
            "STREAM_CLICKHOUSE__URL": f"chdb://{folder}/clickhouse",
        }

    def run(self, command: str, exit_code: int = 0) -> str:
        """What a command says that ends by itself."""
        environment = os.environ | self.environment
        done = subprocess.run(
            words(command), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def start(
        self, command: str, ready: Callable[[Started], object], folder: Path = PROJECT, **more: str
    ) -> Iterator[Started]:
        """Run a command until the block ends, and then end it by Ctrl-C."""
        self.count += 1
        started = Started(command, self.folder / f"log-{self.count}", self.environment | more, folder)

        def holds() -> object:
            assert not started.exited.is_set(), started.said()[-3000:]
            return ready(started)

        try:
            wait_until(holds, 60)
            yield started
        finally:
            started.end(signal.SIGINT, 30)
        assert started.exit_code == 0, (command, started.said()[-3000:])


def test_every_command_is_run_here_or_named_with_the_place_that_runs_it() -> None:
    lines = {line for line in written() if not line.startswith(OF_A_CLUSTER) or line in HERE}
    assert lines == HERE | ELSEWHERE.keys()


def test_the_settings_of_a_cluster_are_settings(tmp_path: Path) -> None:
    exported = dict(line.removeprefix("export ").split("=", 1) for line in written() if line.startswith("export "))
    terminals = Terminals(tmp_path)
    terminals.environment = exported
    said = terminals.run("streamapp settings --json")
    assert len(exported) > 5
    assert all(name in said for name in exported)


def test_an_event_is_sent_billed_read_again_and_verified_and_capture_starts(tmp_path: Path) -> None:
    at = Terminals(tmp_path)
    kafka = KafkaSettings(bootstrap_servers=at.environment["STREAM_KAFKA__BOOTSTRAP_SERVERS"])
    with at.start(BROKER, lambda broker: listens(at.port)):
        admin = Admin(kafka)
        at.run(PLAN, exit_code=2)
        at.run(APPLY)
        assert "Receipt(event_id='evt_" in at.run(SEND)
        (record,) = read_topic({"bootstrap.servers": kafka.bootstrap_servers}, "llm_usage")
        event = decode_usage(record.value)
        assert isinstance(event, Usage)
        assert (record.key, event.team_id, event.org_id) == (b"team_abc123", "team_abc123", "org_hanzo")

        def counted(worker: Started) -> bool:
            return sum(admin.committed("billing-agg").values()) == 1

        with at.start(WORKER, counted):
            pass
        assert "1 partition put back" in at.run(PUT_BACK)
        with at.start(WORKER, lambda worker: "was put back to" in worker.said() and counted(worker)):
            assert "All bills are correct." in at.run(VERIFY)
        (tmp_path / "directory.toml").write_text(TEAM)
        name, _, value = DIRECTORY.removeprefix("export ").partition("=")
        with at.start(CAPTURE, lambda capture: is_ready(at), tmp_path, **{name: value}):
            pass


def is_ready(at: Terminals) -> bool:
    """Whether capture answers that it is."""
    try:
        with urlopen(f"http://127.0.0.1:{at.environment['STREAM_CAPTURE__PORT']}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
