"""Containers as processes: the command, the environment and the mounts of a rendered manifest, in a temporary folder.

Nothing is added but what a cluster gives: names of the network, the pod's address, the contents of Secrets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from conftest import wait_until

from streamapp.processes.child import HOST, Child

ENV = "/usr/bin/env"
IMAGE = {"STREAM_STATE_DIR": "/var/lib/stream"}  # of the Dockerfile
PROGRAMS = {"faust": ("-m", "faust"), "streamapp": ("-m", "streamapp")}


class Pod:
    """One container of a manifest. `secrets`: Secret → its keys. `network`: what is written in the manifest → where it
    is here. `ports`: variable → a free port in place of the manifest's, whose number is taken by other tests."""

    def __init__(
        self,
        manifest: Mapping[str, Any],
        settings: Mapping[str, str],
        folder: Path,
        secrets: Mapping[str, Mapping[str, str]],
        network: Mapping[str, str],
        ports: Mapping[str, int],
    ) -> None:
        spec = manifest["spec"]["template"]["spec"]
        (self.container,) = spec["containers"]
        self.name: str = manifest["metadata"]["name"]
        self.folder: Path = folder / self.name
        volumes = {one["name"]: one for one in spec["volumes"]}
        self.mounts = {one["mountPath"]: self._mounted(volumes.get(one["name"], {}), secrets, one["name"])
                       for one in self.container["volumeMounts"]}  # fmt: skip
        self.environment = {name: self._here(text, network) for name, text in self._given(settings).items()}
        self.environment |= {name: str(port) for name, port in ports.items()}
        self.child: Child | None = None

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def command(self) -> list[str]:
        """What runs the command of the container in its environment and no other."""
        program, *arguments = self.container["command"]
        given = [f"{name}={text}" for name, text in {**self.environment, "PATH": os.environ["PATH"]}.items()]
        return [ENV, "-i", "-C", str(self.folder), *given, sys.executable, *PROGRAMS[program], *arguments]

    def start(self) -> Child:
        self.child = Child(ENV, self.command[1:], self.console)
        return self.child

    def run(self) -> None:
        """The same of a job: it must end well."""
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{self.name}: {done.returncode} {done.stdout}{done.stderr}"

    def said(self) -> str:
        return self.console.read_text(errors="replace")[-3000:]

    def is_ready(self, port: int) -> bool:
        """Whether the container's own readiness probe is content."""
        assert self.child is not None
        assert not self.child.exited.is_set(), f"{self.name}: {self.said()}"
        return asked(port, self.container["readinessProbe"]["httpGet"]["path"])[0] == 200

    def await_ready(self, port: int) -> None:
        wait_until(lambda: self.is_ready(port), 240)

    def _given(self, settings: Mapping[str, str]) -> dict[str, str]:
        found = {**IMAGE, **settings}
        for one in self.container["env"]:
            field = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            assert field in (None, "status.podIP"), one
            found[one["name"]] = HOST if field else one["value"]
        return found

    def _here(self, text: str, network: Mapping[str, str]) -> str:
        for path, place in self.mounts.items():
            if text == path or text.startswith(f"{path}/"):
                return f"{place}{text.removeprefix(path)}"
        return network.get(text, text)

    def _mounted(self, volume: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]], name: str) -> Path:
        """A folder for a volume; a Secret's is as Kubernetes makes it: links into a folder that is swapped whole."""
        place = self.folder / name
        place.mkdir(parents=True)
        if "secret" in volume:
            keys = secrets[volume["secret"]["secretName"]]
            wanted = {one["key"]: one["path"] for one in volume["secret"].get("items", ())} or {
                key: key for key in keys
            }
            (place / "..now").mkdir()
            (place / "..data").symlink_to("..now")
            for key, path in wanted.items():
                (place / "..now" / path).write_text(keys[key])
                (place / path).symlink_to(Path("..data") / path)
        return place


def asked(port: int, path: str, body: bytes | None = None, token: str = "") -> tuple[int, bytes]:
    """Status and body; 0 while nobody listens."""
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def token_of(directory: Path) -> str:
    """A project's token of a directory."""
    (team,) = tomllib.loads(directory.read_text())["teams"].values()
    token: str = team["tokens"][0]
    return token


assert shutil.which(ENV) == ENV
