"""`streamapp run --for` as a process: twice in one folder, each time with a verdict and nothing that looks like a
failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import secured_pages
from conftest import wait_until

from streamapp.processes.child import free_port
from streamapp.settings import Settings
from streamapp.web.rights import ROLES

PAGES = re.compile(r"^Pages: (http\S+)$", re.MULTILINE)
VISITED_S = 60  # for every page on a busy machine
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
def test_a_run_whose_kafka_asks_who_comes_shows_every_page_and_says_that_everything_is_correct(tmp_path: Path) -> None:
    """Its pages ask who comes, too."""

    def visit(first: str) -> None:
        assert secured_pages.every_page_for_every_role(first) > 200
        secured_pages.unmasked(first)

    text = run(tmp_path, "--secure", visit=visit, **secured_pages.settings(tmp_path))
    assert "Verdict: everything is correct. 7 of 7 checks agree" in text
    assert not re.search("Traceback|CRITICAL|lacks", text), text
    secrets = [path.read_text() for path in (tmp_path / "state" / "security" / "secrets").iterdir()]
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "state" / "logs").iterdir())
    assert len(secrets) > 10
    assert not [secret for secret in secrets if secret in text + logs]
    assert not [role for role in ROLES if secured_pages.token(role) in text + logs]
    assert not re.search("not authorized|AuthorizationFailed|Authorization failed", text + logs)


def run(folder: Path, *options: str, visit: Callable[[str], None] | None = None, **more: str) -> str:
    """What the console of a run shows that ended with 0. `visit` is called with the address of its pages, while it
    runs."""
    ports = {f"STREAM_{name}__PORT": str(free_port()) for name in ("BROKER", "CAPTURE", "RECONCILE", "CLICKHOUSE")}
    cache = Settings().cache_dir.resolve()
    places = {"STREAM_STATE_DIR": str(folder / "state"), "STREAM_CACHE_DIR": str(cache), "COLUMNS": "80"}
    length = "20" if visit is None else str(VISITED_S)
    command = [sys.executable, "-m", "streamapp", "run", "--for", length, *options]
    console = folder / "console"
    environment = {**os.environ, **ports, **places, "STREAM_WEB__PORT": "0", **more}
    with (
        console.open("wb") as out,
        subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            if visit is not None:
                wait_until(lambda: PAGES.search(console.read_text()) or process.poll() is not None, RUN_S)
                found = PAGES.search(console.read_text())
                assert found is not None, console.read_text()
                visit(found[1])
            process.wait(timeout=RUN_S)
        except BaseException as error:
            error.add_note(console.read_text())
            raise
        finally:
            process.send_signal(signal.SIGTERM)  # it stops what it started; one that has ended is not told
            process.wait()
    text = console.read_text()
    assert process.returncode == 0, text
    return text
