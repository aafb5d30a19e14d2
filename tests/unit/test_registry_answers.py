"""Every route of the registry, its success and its errors: status, content type and body, byte for byte, as they were
when tests/golden/registry.txt was written. Clients of Confluent's registry read these bytes.

`python tests/unit/test_registry_answers.py` writes the file anew, after a change that is meant.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from streamapp.clock import wall_ms
from streamapp.registry.log import Log
from streamapp.registry.reading import Reading
from streamapp.registry.records import Change, guid
from streamapp.registry.registry import Registry
from streamapp.registry.server import application, rights
from streamapp.registry.state import beginning
from streamapp.registry.writing import Writing
from streamapp.schemas.released import Released
from streamapp.settings import KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.job import listen

FILE = Path(__file__).parents[1] / "golden" / "registry.txt"
FIRST = '{"type":"object","properties":{"a":{"type":"string"}}}'
WIDER = '{"type":"object","properties":{"a":{"type":"string"},"b":{}}}'
NARROWER = '{"type":"object","properties":{}}'
OWN = Released("own-events", 1, 1, {"type": "object"})
GUID = guid(FIRST)


def of(schema: str, kind: str = "JSON") -> str:
    """The body of a schema."""
    return json.dumps({"schemaType": kind, "schema": schema})


ASKED: Sequence[tuple[str, str] | tuple[str, str, str]] = (
    ("GET", "/"),
    ("GET", "/contexts"),
    ("GET", "/schemas/types"),
    ("GET", "/subjects"),
    ("GET", "/schemas"),
    ("GET", "/config"),
    ("GET", "/mode"),
    ("GET", "/schemas/ids/10000"),
    ("POST", "/subjects/s/versions", of(FIRST)),
    ("POST", "/subjects/s/versions", of(FIRST)),
    ("POST", "/subjects/t/versions", of(FIRST)),
    ("POST", "/subjects/s/versions", of(NARROWER)),
    ("POST", "/subjects/s/versions", of(WIDER)),
    ("POST", "/subjects/s/versions", of("{")),
    ("POST", "/subjects/s/versions", of('{"nonsense":1}')),
    ("POST", "/subjects/s/versions", of('"string"', "AVRO")),
    ("POST", "/subjects/s/versions", "{}"),
    ("POST", "/subjects/s/versions", "no JSON"),
    ("POST", "/subjects/%20/versions", of(FIRST)),
    ("POST", "/subjects/own-events/versions", of(WIDER)),
    ("GET", "/schemas/ids/10000"),
    ("GET", "/schemas/ids/10000?subject=other&fetchMaxId=true"),
    ("GET", "/schemas/ids/10000/schema"),
    ("GET", "/schemas/ids/10000/subjects"),
    ("GET", "/schemas/ids/10000/versions"),
    ("GET", "/schemas/ids/77777"),
    ("GET", "/schemas/ids/77777/schema"),
    ("GET", "/schemas/ids/77777/subjects"),
    ("GET", "/schemas/ids/77777/versions"),
    ("GET", "/schemas/ids/x"),
    ("GET", f"/schemas/guids/{GUID}"),
    ("GET", f"/schemas/guids/{GUID}/ids"),
    ("GET", "/schemas/guids/none"),
    ("GET", "/schemas/guids/none/ids"),
    ("GET", "/schemas?latestOnly=true&subjectPrefix=s"),
    ("GET", "/subjects?subjectPrefix=s&offset=0&limit=-1"),
    ("GET", "/subjects?offset=x"),
    ("GET", "/subjects/s/versions"),
    ("GET", "/subjects/none/versions"),
    ("GET", "/subjects/s/versions/1"),
    ("GET", "/subjects/s/versions/latest"),
    ("GET", "/subjects/s/versions/-1"),
    ("GET", "/subjects/s/versions/9"),
    ("GET", "/subjects/s/versions/0"),
    ("GET", "/subjects/none/versions/1"),
    ("GET", "/subjects/s/versions/1/schema"),
    ("GET", "/subjects/s/versions/9/schema"),
    ("GET", "/subjects/s/versions/1/referencedby"),
    ("GET", "/subjects/s/versions/9/referencedby"),
    ("POST", "/subjects/s", of(FIRST)),
    ("POST", "/subjects/s", of(NARROWER)),
    ("POST", "/subjects/none", of(FIRST)),
    ("POST", "/compatibility/subjects/s/versions", of(NARROWER)),
    ("POST", "/compatibility/subjects/s/versions/latest", of(WIDER)),
    ("POST", "/compatibility/subjects/s/versions/latest?verbose=true", of(WIDER)),
    ("POST", "/compatibility/subjects/s/versions/latest?verbose=true", of(NARROWER)),
    ("POST", "/compatibility/subjects/s/versions/9", of(FIRST)),
    ("POST", "/compatibility/subjects/none/versions/1", of(FIRST)),
    ("POST", "/compatibility/subjects/none/versions/latest", of(FIRST)),
    ("GET", "/config/s"),
    ("GET", "/config/s?defaultToGlobal=true"),
    ("PUT", "/config/s", '{"compatibility":"FULL"}'),
    ("GET", "/config/s"),
    ("PUT", "/config/s", '{"compatibility":"SOME"}'),
    ("PUT", "/config/s", '{"compatibility":"FULL","compatibilityPolicy":"STRICT"}'),
    ("PUT", "/config/own-events", '{"compatibility":"NONE"}'),
    ("DELETE", "/config/s"),
    ("DELETE", "/config/s"),
    ("PUT", "/config", '{"compatibility":"NONE"}'),
    ("PUT", "/config", '{"compatibility":"BACKWARD"}'),
    ("GET", "/mode/s"),
    ("GET", "/mode/s?defaultToGlobal=true"),
    ("PUT", "/mode/s", '{"mode":"READONLY"}'),
    ("GET", "/mode/s"),
    ("POST", "/subjects/s/versions", of('{"title":"new"}')),
    ("PUT", "/mode/s", '{"mode":"SOME"}'),
    ("PUT", "/mode/s", '{"mode":"READWRITE"}'),
    ("PUT", "/mode", '{"mode":"READWRITE"}'),
    ("DELETE", "/subjects/s/versions/2?permanent=true"),
    ("DELETE", "/subjects/s/versions/2"),
    ("DELETE", "/subjects/s/versions/2"),
    ("DELETE", "/subjects/s/versions/9"),
    ("GET", "/subjects/s/versions?deleted=true"),
    ("GET", "/subjects/s/versions?deletedOnly=true"),
    ("GET", "/subjects/s/versions/2"),
    ("DELETE", "/subjects/s/versions/2?permanent=true"),
    ("DELETE", "/subjects/s?permanent=true"),
    ("DELETE", "/subjects/s"),
    ("DELETE", "/subjects/s"),
    ("GET", "/subjects?deletedOnly=true"),
    ("DELETE", "/subjects/s?permanent=true"),
    ("DELETE", "/subjects/s?permanent=true"),
    ("DELETE", "/subjects/own-events"),
    ("GET", "/associations/resources/-/t?resourceType=topic&associationType=value"),
    ("PATCH", "/subjects"),
)  # fmt: skip


class Nobody(Log):
    """A topic in memory that nobody else writes to."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings())

    def rest(self) -> list[Change]:
        return []

    def take(self) -> list[Change]:
        return []

    def write(self, new: Sequence[Change]) -> None:
        pass


async def told() -> str:
    """Each request with what is answered, in their order."""
    settings, registry = WebSettings(), Registry(Nobody(), beginning([OWN]))
    door = gate(settings, "127.0.0.1", wall_ms, peers=False, table=rights())
    runner, port = await listen(application(registry, door, settings), "127.0.0.1", 0, "")
    blocks = []
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for method, path, *body in ASKED:
                kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"} if body else {}
                sent = body[0] if body else None
                async with session.request(method, path, data=sent, headers=kind) as answer:
                    words = " ".join((method, path, *body))
                    text = (await answer.read()).decode()
                    blocks.append(f"{words}\n{answer.status} {answer.headers['Content-Type']}\n{text}\n")
    finally:
        await runner.cleanup()
        await registry.close()
    return "\n".join(blocks)


def test_every_answer_has_the_bytes_that_it_had() -> None:
    found, kept = asyncio.run(told()).split("\n\n"), FILE.read_text(encoding="utf-8").split("\n\n")
    assert [one for one in zip(found, kept, strict=True) if one[0] != one[1]] == []


def test_every_route_is_asked() -> None:
    registry = Registry(Nobody())
    reading = Reading(registry)
    asked = [(method, path.partition("?")[0]) for method, path, *_ in ASKED]
    for route in (*reading.routes(), *Writing(registry, reading).routes()):
        form = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.path)))
        assert any(method == route.method and form.fullmatch(path) for method, path in asked), route


if __name__ == "__main__":
    FILE.write_text(asyncio.run(told()), encoding="utf-8")
