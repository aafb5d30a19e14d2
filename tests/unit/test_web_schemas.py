"""The pages of schemas: every type, what changed, who writes and reads it, an example."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from web_fake import FakeWorker, World, serving

from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.released import Released, newest, subject_of
from streamapp.web.pages.schemas import changes, kinds

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
