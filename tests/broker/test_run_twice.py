"""`streamapp run --for` as a process: twice in one folder, each time with a verdict and nothing that looks like a
failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from spilled import Watched, secrets_below, spilled

from streamapp.processes.child import free_port
from streamapp.settings import Settings

RUN_S = 240  # bounds a run on a machine that does much else
FAILURES = re.compile(r"ERROR|Traceback|CRITICAL|Unclosed|Problem|[Ee]xception")


@pytest.mark.long  # four minutes; `tests/unit/test_run_console.py` and `test_supervisor.py` make its promises apart
@pytest.mark.timeout(2 * RUN_S + 60)
def test_two_runs_in_one_folder_say_that_everything_is_correct(tmp_path: Path) -> None:
    for _ in range(2):
        text = run(tmp_path)
        assert not FAILURES.search(text), text
        verdict = text.index("Verdict: everything is correct. 7 of 7 checks agree")
        assert verdict < text.index("Every bill against the raw events") < text.index("Consistency checks")
        assert all(len(line) <= 80 for line in text[text.index("Logs:") : verdict].splitlines()[1:]), text


@pytest.mark.long  # `test_access.py` and `tests/unit/test_run.py` make its promises apart
@pytest.mark.timeout(RUN_S + 60)
def test_a_run_whose_kafka_asks_who_comes_says_that_everything_is_correct(tmp_path: Path) -> None:
    security = tmp_path / "state" / "security"
    with Watched(lambda: secrets_below(security)) as watched:
        text = run(tmp_path, "--secure")
    assert "Verdict: everything is correct. 7 of 7 checks agree" in text
    assert not re.search("Traceback|CRITICAL|lacks", text), text
    secrets = secrets_below(security)
    assert len(secrets) > 10
    assert not watched.places
    assert not [secret for secret in secrets if secret.decode() in text]
    private = ("server.properties", *(path.name for path in (security / "secrets").iterdir()))
    assert not spilled(secrets, tmp_path, apart_from=private)


def run(folder: Path, *options: str) -> str:
    """What the console of a run shows that ended with 0."""
    ports = {f"STREAM_{name}__PORT": str(free_port()) for name in ("BROKER", "CAPTURE", "RECONCILE", "CLICKHOUSE")}
    cache = Settings().cache_dir.resolve()
    places = {"STREAM_STATE_DIR": str(folder / "state"), "STREAM_CACHE_DIR": str(cache), "COLUMNS": "80"}
    command = [sys.executable, "-m", "streamapp", "run", "--for", "20", *options]
    with subprocess.Popen(
        command,
        env={**os.environ, **ports, **places, "STREAM_WEB__PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            text, _ = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # it stops what it started
            text, _ = process.communicate()
    assert process.returncode == 0, text
    return text
