"""The pages of schemas: every type, what changed, who writes and reads it, an example."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from web_fake import FakeWorker, World, serving

from streamapp.clock import wall_ms
from streamapp.registry.log import Log
from streamapp.registry.records import Version
from streamapp.registry.registry import Registry
from streamapp.registry.server import application, rights
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.released import ID_MAX, Released, newest, subject_of
from streamapp.settings import KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.entry.identity import digest
from streamapp.web.job import listen
from streamapp.web.pages.asked import ANSWER_BYTES_MAX, ask_registry
from streamapp.web.pages.schemas import changes, kinds
from streamapp.web.peers import Sign, unsigned

USAGE = "llm.usage.completed"


def asked(*paths: str) -> list[Any]:
    async def run() -> list[Any]:
        world = World(hours_back=2)
        async with serving(FakeWorker(world, "agg-0", range(8))) as served, aiohttp.ClientSession() as session:
            found: list[Any] = []
            for path in paths:
                async with session.get(served[0].url + path) as answer:
                    is_json = "json" in answer.headers["Content-Type"]
                    found.append((answer.status, await answer.json() if is_json else await answer.text()))
            return found

    return asyncio.run(run())


def test_every_type_is_listed_with_who_writes_and_reads_it() -> None:
    (status, twin), (_, page), (_, one), (_, shown), (missing, _) = asked(
        "/schemas.json", "/schemas", f"/schemas/{USAGE}.json", f"/schemas/{USAGE}", "/schemas/no.such.type"
    )
    assert (status, missing) == (200, 404)
    assert {each["type"] for each in twin["schemas"]} == {entry.event_type for entry in CATALOG}
    assert all(entry.event_type in page for entry in CATALOG)
    assert (one["topic"], one["written_by"]) == ("llm_usage", ["llm-gateway"])
    assert set(one["read_by"]) == {"billing-agg", "llm-metrics", "analytics"}
    assert one["example"]["type"] == USAGE
    assert one["schema"] == newest(USAGE).schema
    assert "llm_usage-llm.usage.completed" in shown
    assert "Version 1" in shown


def test_a_version_shows_what_it_changed() -> None:
    first = newest(USAGE)
    properties = {**first.schema["properties"], "region": {"type": "string"}}
    second = Released(subject_of(USAGE), first.version + 1, 99, {**first.schema, "properties": properties})
    (kind,) = kinds([second, first])
    assert [(one.number, one.id) for one in kind.versions] == [(first.version, first.id), (first.version + 1, 99)]
    assert kind.versions[0].changed == ()
    assert '+    "region": {' in kind.versions[1].changed
    assert not [line for line in kind.versions[1].changed if line.startswith("-") and "region" in line]
    assert changes(first.schema, first.schema) == ()


async def of_others(url: str, sign: Sign) -> tuple[Any, str]:
    """The twin and the page of a worker that asks the registry at `url`."""
    world = World(hours_back=2)
    subjects = partial(ask_registry, url, 5, sign)
    worker = FakeWorker(world, "agg-0", range(8))
    async with serving(worker, subjects=subjects) as (served,), aiohttp.ClientSession() as session:
        await served.pages.site.extras.subjects.sure()
        async with session.get(f"{served.url}/schemas.json") as twin, session.get(f"{served.url}/schemas") as page:
            return (await twin.json())["of_others"], await page.text()


def test_what_other_teams_registered_is_shown_as_theirs(tmp_path: Path) -> None:
    """The registry asks for a token; the worker's question is sealed. Old versions may be more than a page reads."""
    secret, tokens = tmp_path / "peers", tmp_path / "tokens"
    secret.write_text("a secret that workers share, long enough\n")
    tokens.write_text(f"someone viewer {digest('token')}\n")
    settings = WebSettings(auth="token", tokens_file=tokens, peer_token_file=secret)
    registry = Registry(Log(KafkaSettings()))
    for number, title in ((1, "o" * ANSWER_BYTES_MAX), (2, "<b>new</b>")):
        registry.state.apply(Version("their-<events>", number, ID_MAX + number, json.dumps({"title": title})))

    async def run() -> list[tuple[Any, str]]:
        door = gate(settings, "127.0.0.1", wall_ms, peers=False, table=rights())
        runner, port = await listen(application(registry, door, settings), "127.0.0.1", 0, "")
        try:
            return [await of_others(f"http://127.0.0.1:{port}", sign) for sign in (door.sign, unsigned)]
        finally:
            await runner.cleanup()

    (known, page), (unknown, without) = asyncio.run(run())
    assert known == [{"subject": "their-<events>", "version": 2, "id": ID_MAX + 2}]
    assert "Of other teams" in page

    assert "their-<wbr>&lt;events&gt;" in page
    assert unknown is None
    assert "is not known now: it answered with status 401" in without
