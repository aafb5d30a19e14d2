"""Prometheus' own judges, from Debian's packages prometheus and prometheus-alertmanager (`make prometheus`)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"


def promtool(*arguments: str | Path, text: bytes = b"") -> str:
    """What promtool says; fails the test unless it is content."""
    return _run("promtool", *map(str, arguments), text=text)


def amtool(*arguments: str | Path) -> str:
    """The same of amtool."""
    return _run("amtool", *map(str, arguments))


def _run(*command: str, text: bytes = b"") -> str:
    environment = {"GOGC": "800", **os.environ}  # it lives for seconds: half its time was spent on collecting garbage
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=300, env=environment)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, (command, said)
    return said


def demand_firing(looks: Sequence[Mapping[str, float]], expected: Mapping[int, set[str]], group: str = "") -> None:
    """Fails unless exactly these alerts fire, of a group or any. `looks`: series → value, told from minute to
    minute; `expected`: minute → alerts."""
    names = sorted({name for look in looks for name in look})
    values = {name: " ".join(repr(look[name]) if name in look else "stale" for look in looks) for name in names}
    chosen = f',group="{group}"' if group else ""
    asked = f'group by (alertname) (ALERTS{{alertstate="firing"{chosen}}})'
    evaluations = [
        {
            "expr": asked,
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(alerts)],
        }
        for minute, alerts in expected.items()
    ]
    series = [{"series": name, "values": told} for name, told in values.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": evaluations}
    rules = [str(DEPLOY / "prometheus" / "rules.yml")]
    with NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": [test]}))
        file.flush()
        assert "SUCCESS" in promtool("test", "rules", file.name)


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
