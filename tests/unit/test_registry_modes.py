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
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.job import listen

NEW = {"schemaType": "JSON", "schema": '{"title":"new"}'}
NONSENSE = {"schemaType": "JSON", "schema": '{"nonsense":1}'}
BEFORE: list[Change] = [Version("foreign", 1, ID_MAX + 1, "{}"), Level("foreign", "FULL")]


class Kept(Log):
    """A topic in memory. `others` is what somebody else wrote a moment ago: it is read when the topic is asked."""

    def __init__(self, *others: Change) -> None:
        super().__init__(KafkaSettings())
        self.others, self.written = list(others), list[Change]()

    def rest(self) -> list[Change]:
        told, self.others = self.others, []
        return told

    def take(self) -> list[Change]:
        return self.rest()

    def write(self, new: Sequence[Change]) -> None:
        self.written += [one for one in new if not isinstance(one, Version)]


async def told(
    before: Sequence[Change], method: str, path: str, body: object, log: Kept | None = None
) -> tuple[int, int]:
    """Status and error code."""
    settings = WebSettings()
    registry = Registry(Kept() if log is None else log)
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


@pytest.mark.parametrize(
    ("others", "path", "body", "expected"),
    [
        (Level("foreign", "NONE"), "/config/foreign", {"compatibility": "BACKWARD"}, Level("foreign", "BACKWARD")),
        (Level(None, "NONE"), "/config", {"compatibility": "BACKWARD"}, Level(None, "BACKWARD")),
        (Mode(None, "READONLY"), "/mode", {"mode": "READWRITE"}, Mode(None, "READWRITE")),
        (Mode("foreign", "READONLY"), "/mode/foreign", {"mode": "READWRITE"}, Mode("foreign", "READWRITE")),
    ],
)
def test_what_another_registry_set_a_moment_ago_is_set_anew(
    others: Change, path: str, body: object, expected: Change
) -> None:
    """What memory calls in force is not: the topic decides."""
    log = Kept(others)
    assert asyncio.run(told([], "PUT", path, body, log)) == (200, 0)
    assert log.written == [expected]


def test_a_subject_keeps_the_level_that_it_was_given() -> None:
    """Although all have it now: a later level of all shall not change it. The same again writes nothing."""
    log = Kept()
    assert asyncio.run(told([], "PUT", "/config/foreign", {"compatibility": "BACKWARD"}, log)) == (200, 0)
    assert log.written == [Level("foreign", "BACKWARD")]
    again = Kept()
    assert asyncio.run(told(log.written, "PUT", "/config/foreign", {"compatibility": "BACKWARD"}, again)) == (200, 0)
    assert again.written == []


@pytest.mark.parametrize(("subject", "before"), [("none", []), ("foreign", BEFORE)])
def test_compatibility_is_asked_of_schemas_that_could_be_registered(subject: str, before: list[Change]) -> None:
    path = f"/compatibility/subjects/{subject}/versions"
    for way in (path, f"{path}/latest"):
        assert asyncio.run(told(before, "POST", way, NONSENSE)) == (422, 42201)
        assert asyncio.run(told(before, "POST", way, NEW)) == (200, 0)
