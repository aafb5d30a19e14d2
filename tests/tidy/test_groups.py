"""A consumer group that has an agent is started, described and named the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import yaml
from project import PROJECT, modules

from streamapp.agents.registry import AGENTS
from streamapp.topics.registry import GROUPS

GROUP_NAMES = [group for group, _, _ in AGENTS]
APPS = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).app.conf.id for name in sys.argv[1:]}))
"""


def test_every_agent_belongs_to_a_group_of_the_registry() -> None:
    assert set(GROUP_NAMES) <= {group.name for group in GROUPS}
    assert len(GROUP_NAMES) == len(set(GROUP_NAMES))
    assert all(line for _, _, line in AGENTS)


def test_every_module_with_an_app_is_in_the_registry_of_agents() -> None:
    agents = [path for path in modules("streamapp") if path.parent.name == "agents"]
    with_app = {path.stem for path in agents if "app = StreamApp(" in (PROJECT / path).read_text()}
    assert {f"streamapp.agents.{stem}" for stem in with_app} == {module for _, module, _ in AGENTS}


def test_every_module_has_the_app_of_its_group() -> None:
    names = [module for _, module, _ in AGENTS]
    asked = subprocess.run([sys.executable, "-c", APPS, *names], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == {module: group for group, module, _ in AGENTS}


def test_every_group_is_started_by_the_procfile_and_by_containers() -> None:
    procfile = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    for group, module, _ in AGENTS:
        assert f"-A {module} " in procfile[group]
        assert module in services[group]["command"]


def test_every_group_is_in_the_runbook_and_in_the_reference() -> None:
    for page in ("docs/runbook.md", "docs/reference.md"):
        text = (PROJECT / page).read_text()
        for group, module, _ in AGENTS:
            assert f"`{group}`" in text, f"{page} does not name {group}"
            assert module in text, f"{page} does not name {module}"
