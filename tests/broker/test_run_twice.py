"""`streamapp run --for` as a process: twice in one folder, each time with a verdict and nothing that looks like a
failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_server import prometheus
from promtool import dashboards

from streamapp.local.state import DEMO_TOKEN
from streamapp.processes.child import free_port, listens
from streamapp.settings import Settings

RUN_S = 240  # bounds a run on a machine that does much else
WEB_PORTS = 70  # of all groups' workers
MAY_BE_EMPTY = (  # panels about these
    "stream_unregistered",  # nothing is the good news
    "stream_watch_unknown",
    "stream_alerts_",  # the demo tells nobody
    'window="1m"',  # of a minute that is over: the run may have none yet
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BATCH = [{"event": "seen", "distinct_id": "me"}, {"event": "", "distinct_id": "me"}]  # the second is refused
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
            panels = [one for one in dashboards().expressions() if not any(name in one for name in MAY_BE_EMPTY)]

            def missing() -> list[str]:
                down = server.down()
                if down:
                    return down
                send(capture)
                return server.unwell() or [one for one in panels if not server.value(one)]

            while not ended():
                found[:] = missing()
                if not found:
                    exemplars = server.ask(
                        "query_exemplars", query="stream_capture_to_topic_seconds_bucket", start="0", end="9999999999"
                    )
                    assert TRACE in str(exemplars)
                    return
                threading.Event().wait(0.5)

    text = run(folder, "--for", "60", meanwhile=look, more=given)
    assert found == []
    return text


def send(port: int) -> None:
    """Two events to capture, as part of a trace."""
    body = json.dumps({"api_key": DEMO_TOKEN, "batch": BATCH}).encode()
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with urlopen(Request(f"http://127.0.0.1:{port}/batch/", body, headers), timeout=30) as answer:
        assert answer.status == 200


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
