"""Every client that leaves the machine by HTTPS trusts what `SSL_CERT_FILE` names, and takes the proxies of the
environment: incidents, the archive, analytics. Each in a process of its own, as workers start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import wait_until
from pager_stand_in import ROUTING_KEY, stand_in
from real_s3 import BUCKET, S3
from real_tls import CA, proxy, tls

from streamapp.processes.child import Child, free_port, listens

CLIENTS = ("pagerduty", "webhook", "archive", "clickhouse")
PLACES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
FAR = "far.example.test"
PROGRAM = Path(__file__).with_name("far_clients.py")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of the far sides, behind TLS."""
    folder, port = tmp_path_factory.mktemp("far"), free_port()
    variables = [f"STREAM_STATE_DIR={folder}", f"STREAM_CLICKHOUSE__PORT={port}"]
    with ExitStack() as opened:
        clickhouse = Child(
            "/usr/bin/env", [*variables, sys.executable, "-m", "streamapp", "clickhouse"], folder / "log"
        )
        opened.callback(clickhouse.end, signal.SIGTERM, 20)
        s3 = S3(folder)
        s3.start()
        opened.callback(s3.stop)
        pager = opened.enter_context(stand_in())
        wait_until(lambda: listens(port), 60)
        ports = {"pager": int(pager.url.rpartition(":")[2]), "archive": s3.port, "clickhouse": port}
        yield {name: opened.enter_context(tls(at)) for name, at in ports.items()}


def told(far: dict[str, int], host: str = "127.0.0.1", **changed: str) -> dict[str, str]:
    """What each client says of its call: `ok`, or what is wrong."""
    clean = {name: value for name, value in os.environ.items() if name.upper() not in PLACES}
    environment = clean | {
        "STREAM_ARCHIVE__URL": f"s3://{BUCKET}/trail",
        "STREAM_ARCHIVE__ENDPOINT": f"https://{host}:{far['archive']}",
        "STREAM_ARCHIVE__REGION": "us-east-1",
        "STREAM_ARCHIVE__TIMEOUT_SECONDS": "3",
        "STREAM_ARCHIVE__ACCESS_KEY_ID": "AKIDARCHIVE",
        "STREAM_ARCHIVE__SECRET_ACCESS_KEY": "not-a-real-secret",
        "STREAM_CLICKHOUSE__URL": f"https://{host}:{far['clickhouse']}",
        "STREAM_ALERTS__PAGERDUTY_URL": f"https://{host}:{far['pager']}/v2/enqueue",
        "STREAM_ALERTS__PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
        "STREAM_ALERTS__WEBHOOK_URL": f"https://{host}:{far['pager']}/hook",
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env=environment | changed,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def test_a_ca_of_their_own_is_trusted_when_it_is_named(far: dict[str, int]) -> None:
    assert told(far, SSL_CERT_FILE=str(CA)) == dict.fromkeys(CLIENTS, "ok")


def test_and_refused_when_it_is_not(far: dict[str, int]) -> None:
    said = told(far)
    assert said.keys() == set(CLIENTS)
    assert all("certificate" in words.lower() for words in said.values()), said


def test_all_go_through_the_proxy_except_to_those_hosts_it_is_not_for(far: dict[str, int]) -> None:
    """Only the proxy knows where the host is."""
    with proxy() as (address, asked):
        variables = {"SSL_CERT_FILE": str(CA), "HTTPS_PROXY": address}
        assert told(far, FAR, **variables) == dict.fromkeys(CLIENTS, "ok")
        assert {f"CONNECT {FAR}:{port}" for port in far.values()} == set(asked)
        asked.clear()
        said = told(far, FAR, **variables, NO_PROXY=f"localhost,{FAR}")
        assert "ok" not in said.values()
        assert asked == []


def test_clickhouse_on_this_machine_is_asked_without_the_proxy(far: dict[str, int]) -> None:
    """`make run` in a network with a proxy."""
    with proxy() as (address, asked):
        said = told(far, SSL_CERT_FILE=str(CA), HTTPS_PROXY=address, HTTP_PROXY=address)
        assert said["clickhouse"] == "ok"
        assert f"CONNECT 127.0.0.1:{far['clickhouse']}" not in asked
