"""A schema registry as a process of its own, for tests with real clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any, Self

from streamapp.processes.child import free_port

JSON = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


class RegistryProcess:
    """`streamapp registry` against a broker. `kill` and `start` keep its port."""

    def __init__(self, bootstrap: str, **given: str) -> None:
        self.port = free_port()
        self._given = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "STREAM_REGISTRY__PORT": str(self.port),
            **given,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Returns at once; `health` says when it answers."""
        command = [sys.executable, "-m", "streamapp", "registry"]
        self._process = subprocess.Popen(command, env={**os.environ, **self._given})
        return self

    def health(self) -> str:
        with suppress(OSError, ValueError):
            return str(self.ask("GET", "/health")[1]["status"])
        return ""

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and answer. Raises OSError when nobody answers."""
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, JSON, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def register(self, subject: str, schema: object) -> tuple[int, Any]:
        """A schema that is JSON."""
        body = {"schemaType": "JSON", "schema": json.dumps(schema)}
        return self.ask("POST", f"/subjects/{subject}/versions", body)
