"""Prometheus' own judges, from Debian's packages prometheus and prometheus-alertmanager (`make prometheus`)."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[1] / "deploy"


def promtool(*arguments: str | Path, text: bytes = b"") -> str:
    """What promtool says; fails the test unless it is content."""
    return _run("promtool", *map(str, arguments), text=text)


def amtool(*arguments: str | Path) -> str:
    """The same of amtool."""
    return _run("amtool", *map(str, arguments))


def _run(*command: str, text: bytes = b"") -> str:
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=120)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, (command, said)
    return said


def check_metrics(text: bytes, but: str = "") -> None:
    """Every metric of an exposition is named and typed as Prometheus wants it, `but` for what the standard names."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=120)
    complaints = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in complaints if not but or not line.endswith(but)] == []


def dashboards() -> Any:
    """The script that makes the dashboards, as a module."""
    spec = importlib.util.spec_from_file_location("dashboards", DEPLOY / "grafana" / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
