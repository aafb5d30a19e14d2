"""Whatever is sent to the registry is answered with a 4xx, soon. Nothing here has a Kafka."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamapp.clock import cpu_s, wall_ms
from streamapp.registry.log import Log
from streamapp.registry.registry import Registry
from streamapp.registry.rules import Invalid, parsed, problems, understood
from streamapp.registry.server import application, rights
from streamapp.settings import KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.job import listen

VERDICT_S = 0.2  # of a processor that others use, too
PATH = "/subjects/x-y/versions"
HEADERS = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


def doubling(levels: int, keyword: str) -> dict[str, Any]:
    """A schema of a few lines that means 2**levels others."""
    two = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**two, f"a{levels}": {"type": "string"}}}


def nested(levels: int) -> str:
    return '{"items":' * levels + "{}" + "}" * levels


HOSTILE: dict[str, str] = {
    "deep": nested(5_000),
    "rather deep": nested(60),
    "an array in an array": "[" * 30_000 + "]" * 30_000,
    "huge": json.dumps({"description": "x" * 70_000}),
    "no json": '{"type": ',
    "a number": "17",
    "a key twice": '{"type":"string","type":"integer"}',
    "half a surrogate": '{"title":"\ud800"}'.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass"),
    "half a surrogate, as an escape": r'{"properties":{"\ud800":{"foo":1}}}',
    "half a surrogate in a value": r'{"enum":["\udc00"]}',
    "no number": '{"minimum": NaN}',
    "a long number": '{"minimum": ' + "9" * 20_000 + "}",
    "a remote reference": '{"$ref":"http://127.0.0.1:1/x.json"}',
    "a reference to a file": '{"$ref":"file:///etc/passwd"}',
    "a reference to nowhere": '{"$ref":"#/$defs/none"}',
    "a loop": '{"$ref":"#"}',
    "a loop of two": '{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}',
    "a loop in a choice": '{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}',
    "a loop in a negation": '{"not":{"oneOf":[{"$ref":"#"},{"$ref":"#"}]}}',
    "choices of choices": json.dumps(doubling(25, "anyOf")),
    "all of all": json.dumps(doubling(25, "allOf")),
    "one of one": json.dumps(doubling(25, "oneOf")),
    "many of many": json.dumps({"$ref": "#/$defs/a0", "$defs": {
        **{f"a{n}": {"oneOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 200} for n in range(4)}, "a4": {}}}),
    "an unknown keyword": '{"$dynamicRef":"#x"}',
    "an unknown type": '{"type":"money"}',
    "a wrong form": '{"properties":[]}',
}  # fmt: skip
"""What is no schema, or none that the judge can follow."""

HEAVY: dict[str, str] = {
    "a pattern that backtracks": json.dumps({"type": "string", "pattern": "^(a+)+$(b|c|d)*" * 200}),
    "many values": json.dumps({"enum": [f"v{n}" for n in range(6_000)]}),
    "many fields": json.dumps({"properties": {f"f{n}": {"type": "string"} for n in range(1_000)}}),
    "many choices": json.dumps({"anyOf": [{"type": "string", "maxLength": n} for n in range(200)]}),
    "a recursive tree": '{"properties":{"children":{"type":"array","items":{"$ref":"#"}}}}',
}
"""Either verdict is right; it has to come soon."""


def verdict(text: str) -> str:
    try:
        document = parsed(text)
        understood(document)
        problems("FULL_TRANSITIVE", [text, text], document)
    except Invalid as why:
        return str(why)
    return ""


def test_judging_ends_at_the_first_version_that_says_no() -> None:
    older = ['{"properties":{"a":{}}}', '{"properties":{"b":{}}}', '{"properties":{"c":{}}}']
    first = problems("BACKWARD_TRANSITIVE", older, {})
    assert len(first) == 1
    assert first[0].startswith("c ")
    assert len(problems("BACKWARD_TRANSITIVE", older, {}, every=True)) == 3


def test_a_reason_that_names_half_a_surrogate_can_be_answered() -> None:
    (told,) = problems("BACKWARD", [r'{"properties":{"\ud800":{}}}'], {})
    assert told.encode()


def test_a_schema_that_cannot_be_compared_is_named_as_such() -> None:
    assert verdict(HOSTILE["an unknown keyword"]).startswith("the schema cannot be compared: ")


def seconds(work: Callable[[], object]) -> float:
    """Processor time of the quickest of three: the machine may be busy."""
    spent = []
    for _ in range(3):
        before = cpu_s()
        work()
        spent.append(cpu_s() - before)
    return min(spent)


@pytest.mark.parametrize("name", [*HOSTILE, *HEAVY])
def test_a_verdict_comes_soon(name: str) -> None:
    text = {**HOSTILE, **HEAVY}[name]
    assert seconds(lambda: verdict(text)) < VERDICT_S
    if name in HOSTILE:
        assert verdict(text), "such a schema is refused"


async def serving() -> tuple[web.AppRunner, str]:
    settings = WebSettings()
    registry = Registry(Log(KafkaSettings(bootstrap_servers="127.0.0.1:1")))
    registry.problem = "there is none here"
    door = gate(settings, "127.0.0.1", wall_ms, peers=False, table=rights())
    runner, port = await listen(application(registry, door, settings), "127.0.0.1", 0, "")
    return runner, f"http://127.0.0.1:{port}"


def answered(*bodies: bytes, headers: dict[str, str] | None = None) -> list[tuple[int, Any]]:
    async def run() -> list[tuple[int, Any]]:
        runner, url = await serving()
        told: list[tuple[int, Any]] = []
        try:
            for body in bodies:
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(url + PATH, data=BytesIO(body), headers=HEADERS | (headers or {})) as answer,
                ):
                    told.append((answer.status, await answer.json(content_type=None)))
        finally:
            await runner.cleanup()
        return told

    return asyncio.run(run())


def test_every_hostile_schema_is_answered_422_in_the_registrys_form() -> None:
    bodies = [json.dumps({"schemaType": "JSON", "schema": text}).encode() for text in HOSTILE.values()]
    for name, (status, body) in zip(HOSTILE, answered(*bodies), strict=True):
        assert status in (400, 422), name
        assert set(body) == {"error_code", "message"}, name


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[" * 100_000, {}, 400),
        (b"x" * (2 << 20), {}, 413),
        (zlib.compress(b"x" * (16 << 20), 1), {"Content-Encoding": "deflate"}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Origin": "http://elsewhere.example"}, 403),
        (b"[]", {}, 400),
        (b'{"schema":"{}"}', {}, 422),
        (b'{"schemaType":"JSON","schema":{}}', {}, 422),
        (b'{"schemaType":"JSON","schema":"{}","references":[{"name":"a","subject":"b","version":1}]}', {}, 422),
    ],
)
def test_a_body_that_cannot_be_read_is_answered_4xx(body: bytes, headers: dict[str, str], status: int) -> None:
    ((told, answer),) = answered(body, headers=headers)
    assert told == status
    assert set(answer) == {"error_code", "message"}
