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
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest
import secured_pages
from conftest import wait_until
from prometheus_server import Server, prometheus
from promtool import dashboards
from scrape_record import differences, told
from spilled import Watched, secrets_below, spilled

from streamapp.local.state import DEMO_TOKEN
from streamapp.processes.child import free_port, listens
from streamapp.settings import Settings
from streamapp.verify.pairs import NAMES
from streamapp.web.entry.rights import ROLES

PAGES = re.compile(r"^Pages: (http\S+)$", re.MULTILINE)
RUN_S = 600  # bounds a run on a machine that does much else
SHORT_S, VISITED_S, SCRAPED_S, REPLAYED_S = 20, 120, 60, 60
WEB_PORTS = 70  # of all groups' workers
STREAMAPP = (sys.executable, "-m", "streamapp")
AGAIN = (  # README's
    "stop billing-agg",
    "replay --group billing-agg --to-earliest --yes",
    "scale billing-agg 4",
    "start billing-agg",
)
CORRECT = f"Verdict: everything is correct. {len(NAMES)} of {len(NAMES)} checks agree"
MAY_BE_EMPTY = (  # panels about these
    "stream_unregistered",  # nothing is the good news
    "stream_watch_unknown",
    "stream_alerts_",  # the demo tells nobody
    'window="1m"',  # of a minute that is over: the run may have none yet
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BATCH = [{"event": "seen", "distinct_id": "me"}, {"event": "", "distinct_id": "me"}]  # the second is refused
# Within two seconds: true of a broker with an agent, beside Prometheus, on a full machine.
BUSY = "Problem: Kafka does not answer. The processes wait for it."
FAILURES = re.compile(r"ERROR|Traceback|CRITICAL|Unclosed|Problem|[Ee]xception")


class Running(NamedTuple):
    """A run that goes on."""

    process: subprocess.Popen[bytes]
    console: Path
    environment: Mapping[str, str]

    def ended(self) -> bool:
        return self.process.poll() is not None

    def pages(self) -> str:
        """The address of its pages, once they are there."""
        wait_until(lambda: PAGES.search(self.console.read_text()) or self.ended(), RUN_S)
        found = PAGES.search(self.console.read_text())
        assert found is not None, self.console.read_text()
        return found[1]

    def up(self) -> None:
        """Return when every process is up: only then does a run follow what it is told."""
        wait_until(lambda: "records on" in self.console.read_text() or self.ended(), RUN_S)

    def call(self, command: str) -> None:
        """A command of a second terminal."""
        where = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.environment['STREAM_BROKER__PORT']}"}
        words, environment = [*STREAMAPP, *command.split()], {**self.environment, **where}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done, self.console.read_text())


@pytest.mark.long  # five minutes; `tests/unit/test_run_console.py` and `test_supervisor.py` make its promises apart
@pytest.mark.timeout(2 * RUN_S + 60)
def test_two_runs_in_one_folder_say_that_everything_is_correct(tmp_path: Path) -> None:
    scraped, replayed = scraped_run(tmp_path), replayed_run(tmp_path)
    for text in (scraped, replayed):
        assert not FAILURES.search(text.replace(BUSY, "")), text
        verdict = text.index(CORRECT)
        assert verdict < text.index("Every bill against the raw events") < text.index("Consistency checks")
        assert all(len(line) <= 80 for line in text[text.index("Logs:") : verdict].splitlines()[1:]), text


@pytest.mark.long  # `test_access.py` and `tests/unit/test_run.py` make its promises apart
@pytest.mark.timeout(2 * RUN_S + 60)
def test_a_run_whose_kafka_asks_who_comes_shows_every_page_and_says_that_everything_is_correct(tmp_path: Path) -> None:
    """Its pages ask who comes, too; no secret is in what it writes, says or is called with."""

    def visit(running: Running) -> None:
        first = running.pages()
        assert secured_pages.every_page_for_every_role(first) > 200
        secured_pages.unmasked(first)

    security = tmp_path / "state" / "security"
    with Watched(lambda: secrets_below(security)) as watched:
        text = run(tmp_path, "--secure", seconds=VISITED_S, beside=visit, more=secured_pages.settings(tmp_path))
    assert CORRECT in text
    assert not re.search("Traceback|CRITICAL|lacks", text), text
    secrets = secrets_below(security)
    assert len(secrets) > 10
    assert not watched.places
    assert not [secret for secret in secrets if secret.decode() in text]
    private = ("server.properties", *(path.name for path in (security / "secrets").iterdir()))
    assert not spilled(secrets, tmp_path, apart_from=private)
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "state" / "logs").iterdir())
    assert not [role for role in ROLES if secured_pages.token(role) in text + logs]
    assert not re.search("not authorized|AuthorizationFailed|Authorization failed", text + logs)


def as_recorded(server: Server) -> None:
    assert differences(told(server)) == [], "see tests/broker/scrape_record.py"


def scraped_run(folder: Path, scraped: Callable[[Server], Any] = as_recorded) -> str:
    """A run with the broker's own metrics, and Prometheus beside it: every process answers it, every rule can be
    evaluated, and every panel of the dashboards shows something. `scraped`: looks at all that is told."""
    base = free_range(WEB_PORTS)
    capture, reconcile, watch, registry, kafka = (free_port() for _ in range(5))
    where = {"WEB": base, "CAPTURE": capture, "RECONCILE": reconcile, "WATCH": watch, "REGISTRY": registry}
    given = {f"STREAM_{name}__PORT": str(port) for name, port in where.items()}
    given["STREAM_BROKER__METRICS_PORT"] = str(kafka)
    ports = {6066 + number: base + number for number in range(WEB_PORTS)}
    ports |= {3000: capture, 6200: reconcile, 6300: watch, 8081: registry, 9404: kafka}
    found: list[str] = []

    def look(running: Running) -> None:
        with prometheus(folder / "prometheus", ports) as server:
            panels = [one for one in dashboards().expressions() if not any(name in one for name in MAY_BE_EMPTY)]

            def missing() -> list[str]:
                down = server.down()
                if down:
                    return down
                send(capture)
                return server.unwell() or [one for one in panels if not server.value(one)]

            while not running.ended():
                found[:] = missing()
                if not found:
                    exemplars = server.ask(
                        "query_exemplars", query="stream_capture_to_topic_seconds_bucket", start="0", end="9999999999"
                    )
                    assert TRACE in str(exemplars)
                    scraped(server)
                    return
                threading.Event().wait(0.5)

    text = run(folder, seconds=SCRAPED_S, beside=look, more=given)
    assert found == []
    return text


def send(port: int) -> None:
    """Two events to capture, as part of a trace."""
    body = json.dumps({"api_key": DEMO_TOKEN, "batch": BATCH}).encode()
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with urlopen(Request(f"http://127.0.0.1:{port}/batch/", body, headers), timeout=30) as answer:
        assert answer.status == 200


def replayed_run(folder: Path) -> str:
    """A run whose first group is stopped, put back, scaled and started again meanwhile."""

    def again(running: Running) -> None:
        running.up()
        for command in AGAIN:
            running.call(command)

    return run(folder, seconds=REPLAYED_S, beside=again)


def free_range(count: int) -> int:
    """The first of so many ports that nobody listens on."""
    return next(
        port for port in range(20_000, 30_000, count) if not any(listens(port + number) for number in range(count))
    )


def run(
    folder: Path,
    *options: str,
    seconds: int = SHORT_S,
    beside: Callable[[Running], Any] = Running.ended,
    more: Mapping[str, str] = {},
) -> str:
    """What the console of a run shows that ended with 0. `beside` is done while it runs."""
    names = ("BROKER", "CAPTURE", "RECONCILE", "CLICKHOUSE", "WATCH", "REGISTRY")
    ports = {f"STREAM_{name}__PORT": str(free_port()) for name in names}
    cache = Settings().cache_dir.resolve()
    places = {"STREAM_STATE_DIR": str(folder / "state"), "STREAM_CACHE_DIR": str(cache), "COLUMNS": "80"}
    environment = {**os.environ, **ports, **places, "STREAM_WEB__PORT": "0", **more}
    command, console = [*STREAMAPP, "run", "--for", str(seconds), *options], folder / "console"
    with (
        console.open("wb") as out,
        subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            beside(Running(process, console, environment))
            process.wait(RUN_S)
        except BaseException as error:
            error.add_note(console.read_text())
            raise
        finally:
            process.send_signal(signal.SIGTERM)  # it stops what it started; one that has ended is not told
            process.wait()
    text = console.read_text()
    assert process.returncode == 0, text
    return text
