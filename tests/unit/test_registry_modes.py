"""What a registry refuses that is read-only: everything but another mode."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest

from streamapp.clock import wall_ms
from streamapp.registry.log import Log
from streamapp.registry.records import Change, Level, Mode, Version
from streamapp.registry.registry import Registry
from streamapp.registry.server import application, rights
from streamapp.schemas.released import ID_MAX
from streamapp.settings import KafkaSettings
from streamapp.settings_web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.job import listen

NEW = {"schemaType": "JSON", "schema": '{"title":"new"}'}
NONSENSE = {"schemaType": "JSON", "schema": '{"nonsense":1}'}
BEFORE: list[Change] = [Version("foreign", 1, ID_MAX + 1, "{}"), Level("foreign", "FULL")]


class Empty(Log):
    """Nobody else writes."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings())

    def rest(self) -> list[Change]:
        return []

    def take(self) -> list[Change]:
        return []

    def write(self, new: Sequence[Change]) -> None:
        pass


async def told(before: Sequence[Change], method: str, path: str, body: object) -> tuple[int, int]:
    """Status and error code."""
    settings = WebSettings()
    registry = Registry(Empty())
    for change in before:
        registry.state.apply(change)
    door = gate(settings, "127.0.0.1", wall_ms, peers=False, table=rights())
    runner, port = await listen(application(registry, door, settings), "127.0.0.1", 0, "")
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{port}{path}", json=body) as answer,
        ):
            found = await answer.json(content_type=None)
            return answer.status, found.get("error_code", 0) if isinstance(found, dict) else 0
    finally:
        await runner.cleanup()
        await registry.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/subjects/foreign/versions", NEW),
        ("DELETE", "/subjects/foreign", None),
        ("DELETE", "/subjects/foreign/versions/1", None),
        ("PUT", "/config/foreign", {"compatibility": "NONE"}),
        ("DELETE", "/config/foreign", None),
        ("PUT", "/config", {"compatibility": "NONE"}),
    ],
)
def test_a_read_only_mode_refuses_what_another_would_write(method: str, path: str, body: object) -> None:
    for mode in ("READONLY", "READONLY_OVERRIDE"):
        assert asyncio.run(told([*BEFORE, Mode(None, mode)], method, path, body)) == (422, 42205)
    assert asyncio.run(told(BEFORE, method, path, body)) == (200, 0)


def test_a_mode_is_changed_in_every_mode() -> None:
    before = [*BEFORE, Mode(None, "READONLY")]
    assert asyncio.run(told(before, "PUT", "/mode", {"mode": "READWRITE"})) == (200, 0)


@pytest.mark.parametrize(("subject", "before"), [("none", []), ("foreign", BEFORE)])
def test_compatibility_is_asked_of_schemas_that_could_be_registered(subject: str, before: list[Change]) -> None:
    path = f"/compatibility/subjects/{subject}/versions"
    for way in (path, f"{path}/latest"):
        assert asyncio.run(told(before, "POST", way, NONSENSE)) == (422, 42201)
        assert asyncio.run(told(before, "POST", way, NEW)) == (200, 0)
