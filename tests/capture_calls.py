"""Capture without sockets: a request in, the answer and what would be in Kafka out."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from memory_pipeline import MemoryPipeline

from streamapp.capture.app import App
from streamapp.capture.intake import Intake
from streamapp.capture.reading.teams import Teams
from streamapp.directory.teams import Directory, FileDirectory
from streamapp.settings import CaptureSettings
from streamapp.web.entry.gate import Gate

NOW_MS = 1_795_000_000_000  # 2026-11-18T11:06:40Z
TOKEN = "ha_project"
OTHER_TOKEN = "ha_other"
DIRECTORY = f"""
[teams.team_abc123]
org = "org_hanzo"
tokens = ["{TOKEN}"]

[teams.team_other]
org = "org_other"
tokens = ["{OTHER_TOKEN}"]
"""


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Outside:
    """What the world tells a process: time and randomness, both the same in every run."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.drawn = 0

    def clock(self) -> int:
        return self.now_ms

    def entropy(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count)


class InMemory:
    """One process of capture on a pipeline in memory."""

    def __init__(
        self, directory: Directory, pipeline: MemoryPipeline | None = None, gate: Gate | None = None, **limits: Any
    ) -> None:
        self.outside = Outside()
        self.pipeline = pipeline or MemoryPipeline()
        self.limits = CaptureSettings(**limits)
        self.intake = Intake(Teams(directory), self.limits, self.outside.entropy)
        self.app = App(self.intake, self.pipeline, self.limits, self.outside.clock, gate)

    async def ask(
        self,
        *pieces: bytes,
        path: str = "/e/",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        gone: bool = False,
        **query: str,
    ) -> Reply | None:
        """A request whose body comes in these pieces. `gone`: the client goes away after them; it gets no answer."""
        coming: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": gone or number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return coming.pop(0) if coming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        named = {name.lower().encode(): value.encode("latin-1") for name, value in (headers or {}).items()}
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "query_string": urlencode(query).encode(),
            "headers": list(named.items()),
            "client": ("203.0.113.42", 40_000),
        }
        await self.app(scope, receive, send)
        if not sent:
            return None
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], told, sent[1]["body"])

    def call(self, body: bytes | dict[str, Any] | list[Any] = b"", *pieces: bytes, **how: Any) -> Reply:
        """The same from a test that has no event loop; objects are sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = asyncio.run(self.ask(raw, *pieces, **how))
        assert reply is not None
        return reply

    def events(self) -> list[dict[str, Any]]:
        """The events in the topic."""
        return [json.loads(value) for topic, _, value in self.pipeline.written if topic == "events_plugin_ingestion"]

    def letters(self) -> list[tuple[str, bytes]]:
        """The dead letters: reason, and the bytes they are about."""
        found = [json.loads(value)["data"] for topic, _, value in self.pipeline.written if topic == "dead_letter"]
        return [(letter["reason"], b64decode(letter["value_b64"], validate=True)) for letter in found]


def directory_in(folder: Path, text: str = DIRECTORY) -> FileDirectory:
    """A team directory in a file."""
    path = folder / "directory.toml"
    path.write_text(text)
    return FileDirectory(path)
