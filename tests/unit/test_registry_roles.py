"""Who may read from the registry and who may write: a table, as the pages have it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamapp.clock import wall_ms
from streamapp.errors import Unavailable
from streamapp.registry.log import Log
from streamapp.registry.registry import Registry
from streamapp.registry.server import application, health, rights
from streamapp.schemas.released import newest
from streamapp.settings import KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.entry.identity import digest
from streamapp.web.job import UNWELL, listen

USAGE = newest("llm.usage.completed")
KNOWN = {"schemaType": "JSON", "schema": json.dumps(USAGE.schema)}
NEW = {"schemaType": "JSON", "schema": '{"type":"object"}'}
OWN, FOREIGN = f"/subjects/{USAGE.subject}/versions", "/subjects/foreign/versions"
CASES: tuple[tuple[str, str, str, object, int, int], ...] = (
    # who       method   path                     body                        status  code
    ("", "GET", "/subjects", None, 401, 40101),
    ("wrong", "GET", "/subjects", None, 401, 40101),
    ("monitor", "GET", "/subjects", None, 403, 40301),
    ("viewer", "GET", "/subjects", None, 200, 0),
    ("viewer", "GET", "/no/such/route", None, 404, 404),
    ("viewer", "PATCH", "/subjects", None, 405, 405),
    ("viewer", "POST", OWN, KNOWN, 200, 0),
    ("viewer", "POST", OWN, NEW, 422, 42205),
    ("operator", "POST", OWN, NEW, 422, 42205),
    ("operator", "DELETE", f"{OWN}/1", None, 422, 42205),
    ("operator", "PUT", f"/config/{USAGE.subject}", {"compatibility": "NONE"}, 422, 42205),
    ("viewer", "PUT", f"/config/{USAGE.subject}", {"compatibility": "BACKWARD"}, 200, 0),
    ("viewer", "PUT", f"/config/{USAGE.subject}", {"compatibility": "NONE"}, 422, 42205),
    ("viewer", "PUT", "/config/foreign", {"compatibility": "BACKWARD"}, 503, 50001),
    ("viewer", "PUT", "/config/foreign", {"compatibility": "SOME"}, 422, 42203),
    ("viewer", "PUT", "/mode", {"mode": "READONLY"}, 503, 50001),
    ("viewer", "PUT", "/mode", {"mode": "SOME"}, 422, 42204),
    ("viewer", "DELETE", "/subjects/foreign", None, 422, 42205),
    ("operator", "POST", FOREIGN, NEW, 503, 50001),
    ("viewer", "POST", FOREIGN, NEW, 503, 50001),
    ("viewer", "GET", "/schemas/ids/12345", None, 503, 50001),
    ("viewer", "GET", f"/subjects/{USAGE.subject}/versions/99", None, 404, 40402),
    ("viewer", "GET", f"/subjects/{USAGE.subject}/versions/x", None, 422, 42202),
    ("viewer", "GET", f"/config/{USAGE.subject}", None, 404, 40408),
    ("viewer", "GET", "/config/foreign", None, 503, 50001),
    ("viewer", "GET", "/mode/foreign", None, 503, 50001),
    ("operator", "DELETE", "/config/foreign", None, 503, 50001),
    ("viewer", "POST", f"/compatibility{OWN}", {"schemaType": "JSON", "schema": '{"nonsense":1}'}, 422, 42201),
    ("viewer", "GET", f"/config/{USAGE.subject}?defaultToGlobal=true", None, 200, 0),
    ("viewer", "GET", "/associations/resources/-/llm_usage?resourceType=topic", None, 404, 404),
)


def asked(folder: Path, who: str, method: str, path: str, body: object) -> tuple[int, Any]:
    file = folder / "tokens"
    file.write_text("".join(f"{role} {role} {digest(role)}\n" for role in ("monitor", "viewer", "operator")))
    settings = WebSettings(auth="token", tokens_file=file)

    async def run() -> tuple[int, Any]:
        registry = Registry(Log(KafkaSettings(bootstrap_servers="127.0.0.1:1")))
        registry.problem = "there is none here"
        door = gate(settings, "127.0.0.1", wall_ms, peers=False, table=rights())
        runner, port = await listen(application(registry, door, settings), "127.0.0.1", 0, "")
        headers = {"Authorization": f"Basic {b64encode(f'any:{who}'.encode()).decode()}"} if who else {}
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, f"http://127.0.0.1:{port}{path}", json=body, headers=headers) as answer,
            ):
                return answer.status, await answer.json(content_type=None)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize(("who", "method", "path", "body", "status", "code"), CASES)
def test_routes_and_roles(
    tmp_path: Path, who: str, method: str, path: str, body: object, status: int, code: int
) -> None:
    told, answer = asked(tmp_path, who, method, path, body)
    assert told == status, answer
    if code:
        assert set(answer) == {"error_code", "message"}
        assert answer["error_code"] == code


def test_a_registry_is_ready_from_its_first_look_on_and_stays_so_while_kafka_is_away() -> None:
    registry = Registry(Log(KafkaSettings(bootstrap_servers="127.0.0.1:1")))
    assert health(registry) in UNWELL["/health/ready"]
    with pytest.raises(Unavailable):
        asyncio.run(registry.refresh())
    assert health(registry) == "blind"
    assert all("blind" not in words for words in UNWELL.values())
