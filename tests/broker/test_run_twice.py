"""`streamapp run --for` as a process: twice in one folder, each time with a verdict and nothing that looks like a
failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from prometheus_server import prometheus
from promtool import dashboards

from streamapp.processes.child import free_port, listens
from streamapp.settings import Settings

RUN_S = 240  # bounds a run on a machine that does much else
WEB_PORTS = 70  # of all groups' workers
MAY_BE_EMPTY = {"stream_unregistered", "sum by (reason) (stream_watch_unknown)"}  # nothing is the good news
FAILURES = re.compile(r"ERROR|Traceback|CRITICAL|Unclosed|Problem|[Ee]xception")


@pytest.mark.long  # four minutes; `tests/unit/test_run_console.py` and `test_supervisor.py` make its promises apart
@pytest.mark.timeout(2 * RUN_S + 60)
def test_two_runs_in_one_folder_say_that_everything_is_correct(tmp_path: Path) -> None:
    for text in (scraped_run(tmp_path), run(tmp_path)):
        assert not FAILURES.search(text), text
        verdict = text.index("Verdict: everything is correct. 7 of 7 checks agree")
        assert verdict < text.index("Every bill against the raw events") < text.index("Consistency checks")
        assert all(len(line) <= 80 for line in text[text.index("Logs:") : verdict].splitlines()[1:]), text


@pytest.mark.long  # `test_access.py` and `tests/unit/test_run.py` make its promises apart
@pytest.mark.timeout(RUN_S + 60)
def test_a_run_whose_kafka_asks_who_comes_says_that_everything_is_correct(tmp_path: Path) -> None:
    text = run(tmp_path, "--secure")
    assert "Verdict: everything is correct. 7 of 7 checks agree" in text
    assert not re.search("Traceback|CRITICAL|lacks", text), text
    secrets = [path.read_text() for path in (tmp_path / "state" / "security" / "secrets").iterdir()]
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "state" / "logs").iterdir())
    assert len(secrets) > 10
    assert not [secret for secret in secrets if secret in text + logs]


def scraped_run(folder: Path) -> str:
    """A run with the broker's own metrics, and Prometheus beside it: every process answers it, every rule can be
    evaluated, and every panel of the dashboards shows something."""
    base, capture, reconcile, watch, kafka = free_range(WEB_PORTS), *(free_port() for _ in range(4))
    where = {"WEB": base, "CAPTURE": capture, "RECONCILE": reconcile, "WATCH": watch}
    given = {f"STREAM_{name}__PORT": str(port) for name, port in where.items()}
    given["STREAM_BROKER__METRICS_PORT"] = str(kafka)
    ports = {6066 + number: base + number for number in range(WEB_PORTS)}
    ports |= {3000: capture, 6200: reconcile, 6300: watch, 9404: kafka}
    found: list[str] = []

    def look(ended: Callable[[], bool]) -> None:
        with prometheus(folder / "prometheus", ports) as server:
            panels = set(dashboards().expressions())

            def missing() -> list[str]:
                down = server.down()
                if down:
                    return down
                return server.unwell() or [one for one in panels - MAY_BE_EMPTY if not server.value(one)]

            while not ended():
                found[:] = missing()
                if not found:
                    return
                threading.Event().wait(0.5)

    text = run(folder, "--for", "60", meanwhile=look, more=given)
    assert found == []
    return text


def free_range(count: int) -> int:
    """The first of so many ports that nobody listens on."""
    return next(
        port for port in range(20_000, 30_000, count) if not any(listens(port + number) for number in range(count))
    )


def run(
    folder: Path,
    *options: str,
    meanwhile: Callable[[Callable[[], bool]], None] = lambda ended: None,
    more: Mapping[str, str] = {},
) -> str:
    """What the console of a run shows that ended with 0. `meanwhile` is done while it runs."""
    names = ("BROKER", "CAPTURE", "RECONCILE", "CLICKHOUSE", "WATCH")
    ports = {f"STREAM_{name}__PORT": str(free_port()) for name in names}
    cache = Settings().cache_dir.resolve()
    places = {"STREAM_STATE_DIR": str(folder / "state"), "STREAM_CACHE_DIR": str(cache), "COLUMNS": "80"}
    command = [sys.executable, "-m", "streamapp", "run", *(() if "--for" in options else ("--for", "20")), *options]
    with (
        (folder / "console").open("w") as console,
        subprocess.Popen(
            command,
            env={**os.environ, **ports, **places, "STREAM_WEB__PORT": "0", **more},
            stdout=console,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            meanwhile(lambda: process.poll() is not None)
            process.wait(RUN_S)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # it stops what it started
    text = (folder / "console").read_text()
    assert process.returncode == 0, text
    return text
