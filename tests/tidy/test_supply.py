"""What is installed is listed, and looked up: `make sbom` and `make audit`, without the internet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from project import PROJECT

PINNED = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)
ADVISORY = {"id": "GHSA-test", "aliases": ["CVE-2026-1"], "summary": "s", "details": "d", "affected": []}


def ran(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT / "deploy" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_sbom_names_each_locked_package_and_jar_and_is_valid(tmp_path: Path) -> None:
    done = ran("sbom.py", str(tmp_path / "sbom.json"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = json.loads(text)
    assert made["metadata"]["component"]["name"] == "hanzo-stream"
    found = {scope: set() for scope in ("required", "optional")}  # type: dict[str, set[str]]
    for component in made["components"]:
        found[component["scope"]].add(component["purl"])
    locked = PINNED.findall((PROJECT / "requirements.lock").read_text())
    assert found["required"] == {f"pkg:pypi/{name}@{version}" for name, version in locked}
    jars = [
        line.split() for line in (PROJECT / "streamapp/broker/jars.lock").read_text().splitlines() if line[0] != "#"
    ]
    assert found["optional"] == {"pkg:maven/{}/{}@{}".format(*coordinate.split(":")) for coordinate, _ in jars}
    assert {sha256 for _, sha256 in jars} <= set(re.findall("[0-9a-f]{64}", text))


@contextmanager
def database(vulnerable: str) -> Iterator[str]:
    """A database of advisories that knows of one package; its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = {"vulns": [ADVISORY]} if asked["package"]["name"] == vulnerable else {}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_known_vulnerability_fails_the_audit_and_a_database_out_of_reach_is_said(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"click==8.1.8 --hash=sha256:{'0' * 64}\nrich==13.9.4 --hash=sha256:{'0' * 64}\n")
    with database("click") as url:
        found = ran("audit.py", str(lock), "-s", "osv", "--osv-url", url)
        assert (found.returncode, "click 8.1.8: " in found.stdout, "CVE-2026-1" in found.stdout) == (1, True, True), (
            found
        )
        assert "2 packages looked up, 1 known vulnerabilities" in found.stdout
    with database("nothing") as url:
        clean = ran("audit.py", "--strict", str(lock), "-s", "osv", "--osv-url", url)
        assert (clean.returncode, clean.stdout) == (0, "2 packages looked up, 0 known vulnerabilities\n"), clean
    away = ran("audit.py", str(lock), "-s", "osv", "--osv-url", url)
    assert (away.returncode, "NOT AUDITED: all packages could not be looked up" in away.stdout) == (0, True), away
    assert ran("audit.py", "--strict", str(lock), "-s", "osv", "--osv-url", url).returncode == 69
