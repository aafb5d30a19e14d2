"""Apicurio Registry as a process of its own, with nothing but memory; fetched once from a Maven repository.

python tests/registry/apicurio.py     fetches it now, and the packages of the largest client, for `make test-all`
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import CACHE_DIR, wait_until
from sdk_packages import packages

from streamapp.broker.jars import held, jars
from streamapp.extras import java
from streamapp.processes.child import free_port

LOCK = Path(__file__).with_name("apicurio.lock")
START_S = 240  # 10 s on an idle machine
STOP_S = 60
ASKED_S = 5  # one that takes the connection and does not answer yet is asked again


def unpacked(cache_dir: Path) -> Path:
    """The folder with its program. Several processes may call at once."""
    (archive,) = jars(cache_dir.resolve(), lock=LOCK)
    folder = cache_dir.resolve() / archive.name.removesuffix(".tar.gz")
    with held(cache_dir / f"{folder.name}.lock"):
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
            part.rename(folder)
    return folder


@contextmanager
def apicurio(cache_dir: Path, room: Path) -> Iterator[str]:
    """The URL of its form of Confluent's REST API. It judges compatibility only when it is told a level."""
    port = free_port()
    given = {
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_ENABLED": "false",
    }
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]
    command = [java(), *options, "-jar", str(unpacked(cache_dir) / "quarkus-run.jar")]
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    with (room / "apicurio.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | given, cwd=room, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _is_told(url), timeout_s=START_S)
        assert process.poll() is None, (room / "apicurio.log").read_text()[-2000:]
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_told(url: str) -> bool:
    body, kind = json.dumps({"compatibility": "BACKWARD"}).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/config", body, kind, method="PUT")
    with suppress(OSError), urllib.request.urlopen(request, timeout=ASKED_S) as answer:
        return bool(answer.status == 200)
    return False


if __name__ == "__main__":
    print(unpacked(CACHE_DIR))
    print(packages(CACHE_DIR, LOCK.with_name("confluent")))
