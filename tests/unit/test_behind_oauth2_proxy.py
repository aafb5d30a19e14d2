"""A reverse proxy that does what docs/security.md has oauth2-proxy do: its headers count, forged ones do not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from gates import PEER, PROXY_SECRET
from letters_fake import FakeLetters, letter
from multidict import CIMultiDict
from web_fake import FakeAudit, FakeWorker, World, serving

from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate

SECTION = re.compile(r"^## Behind oauth2-proxy$(.*?)^## ", re.MULTILINE | re.DOTALL)
PAGE = Path(__file__).parent.parent.parent / "docs" / "security.md"
WORLD = World(hours_back=2, hostile=False)
SECRET = b'{"team_id":"team_a","org_id":"org_a","password":"hunter2secret"}'
A_LETTER = letter(value=SECRET, key=b"team_a")
SESSIONS = {  # cookie → what the provider says of the person
    "anna": {"email": "anna@example.com", "groups": ["staff", "privacy"]},
    "bert": {"email": "bert@example.com", "groups": ["staff"]},
    "carl": {"email": "carl@example.com", "groups": ["cooks"]},
}
FORGED = {
    "X-Forwarded-User": "root",
    "X-Forwarded-Groups": "privacy,oncall",
    "X-Stream-Proxy-Secret": "a guess of somebody's",
}


def configured() -> tuple[dict[str, Any], dict[str, str]]:
    """The proxy's configuration and the workers' settings, of the page."""
    found = SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    blocks = dict(re.findall(r"^```(yaml|sh)\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL))
    exports = (line.removeprefix("export STREAM_WEB__").split("=", 1) for line in blocks["sh"].splitlines())
    return yaml.safe_load(blocks["yaml"]), {name.lower(): value for name, value in exports}


def worker_settings(folder: Path, given: Mapping[str, str]) -> WebSettings:
    """The workers' settings of the page, with its files in a folder."""
    for name, secret in {"stream-proxy": PROXY_SECRET, "stream-peers": PEER, "stream-metrics": PEER}.items():
        (folder / name).write_text(secret)
    return WebSettings(**{name: value.replace("/run/secrets", str(folder)) for name, value in given.items()})


class Proxy:
    """Knows people by a cookie, and replaces headers as `injectRequestHeaders` says; `adds`: it forgets to replace."""

    def __init__(self, config: Mapping[str, Any], upstream: str, folder: Path, adds: bool = False) -> None:
        self._headers, self._upstream, self._folder, self._adds = config["injectRequestHeaders"], upstream, folder, adds

    async def serve(self, stack: AsyncExitStack) -> str:
        self._session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._forward)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        claims = SESSIONS.get(request.cookies.get("session", ""))
        if claims is None:
            return web.Response(status=302, headers={"Location": "https://id.example/authorize"})
        headers = CIMultiDict(request.headers)
        for one in self._headers:
            if not one["preserveRequestValue"] and not self._adds:
                headers.popall(one["name"], None)
            headers.add(one["name"], ",".join(value for each in one["values"] for value in self._values(each, claims)))
        async with self._session.request(
            request.method,
            self._upstream + request.raw_path,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    def _values(self, value: Mapping[str, Any], claims: Mapping[str, Any]) -> list[str]:
        if "claimSource" in value:
            found = claims[value["claimSource"]["claim"]]
            return found if isinstance(found, list) else [found]
        return [Path(value["secretSource"]["fromFile"].replace("/run/secrets", str(self._folder))).read_text()]


Ask = Callable[..., Awaitable[tuple[int, str]]]


def behind(folder: Path, check: Callable[[Ask, FakeAudit, str, str], Awaitable[None]], adds: bool = False) -> None:
    """A worker behind a proxy, both as the page says. `check` asks the proxy at the third argument."""

    async def run() -> None:
        config, given = configured()
        web_settings = worker_settings(folder, given)
        door = gate(web_settings, web_settings.host, WORLD.clock)
        audit, worker = FakeAudit(), FakeWorker(WORLD, "agg-0", range(8))
        async with AsyncExitStack() as stack:
            made = serving(worker, gate=door, letters=FakeLetters([A_LETTER]), audit=audit)
            (served,) = await stack.enter_async_context(made)
            proxy = await Proxy(config, served.url, folder, adds).serve(stack)
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def ask(
                url: str, person: str = "", headers: Mapping[str, str] | None = None, **form: str
            ) -> tuple[int, str]:
                cookies = {"Cookie": f"session={person}"} if person else {}
                sent, method = {**cookies, **(headers or {})}, "POST" if form else "GET"
                async with session.request(method, url, headers=sent, data=form, allow_redirects=False) as answer:
                    if answer.content_type == "text/event-stream":
                        return answer.status, (await answer.content.readuntil(b"\n\n")).decode()
                    return answer.status, await answer.text()

            await check(ask, audit, proxy, served.url)

    asyncio.run(run())


def test_people_come_through_the_proxy_and_forged_headers_do_not(tmp_path: Path) -> None:
    unmask = f"/letters/{A_LETTER.id}/unmask"
    form = {"part": "value", "reason": "The customer asked which password it was"}

    async def check(ask: Ask, audit: FakeAudit, proxy: str, worker: str) -> None:
        config, given = configured()
        assert (await ask(f"{proxy}/"))[0] == 302, "nobody is logged in"
        for person, page, status in (
            ("bert", "/", 200),
            ("bert", "/letters", 403),
            ("anna", "/letters", 200),
            ("carl", "/", 403),
        ):
            assert (await ask(proxy + page, person))[0] == status, (person, page)
            assert (await ask(proxy + page, person, FORGED))[0] == status, "what a client sends is replaced"
        assert (await ask(f"{proxy}/live?page=/", "bert"))[0] == 200, "live updates come through, too"

        for headers in (FORGED, {**FORGED, "X-Stream-Proxy-Secret": ""}, {"X-Forwarded-User": "anna"}, {}):
            assert (await ask(f"{worker}/", "", headers))[0] == 403, "past the proxy nobody is anybody"
        for name, value in FORGED.items():
            right = {one: FORGED[one] for one in FORGED if one != name}
            assert (await ask(f"{worker}/", "", {**right, name: value}))[0] == 403

        assert (await ask(proxy + unmask, "anna", {"Origin": "https://evil.example"}, **form))[0] == 403
        status, text = await ask(proxy + unmask, "anna", {**FORGED, "Origin": given["origin"]}, **form)
        assert (status, "hunter2secret" in text) == (200, True)
        assert [data["user_id"] for _, data in audit.written] == ["anna@example.com"], "not root"
        assert (await ask(proxy + unmask, "bert", {"Origin": given["origin"]}, **form))[0] == 403
        assert json.dumps(config).count("/run/secrets/stream-proxy") == 1

    behind(tmp_path, check)


def test_a_proxy_that_adds_instead_of_replacing_lets_nobody_forge(tmp_path: Path) -> None:
    async def check(ask: Ask, audit: FakeAudit, proxy: str, worker: str) -> None:
        assert (await ask(f"{proxy}/", "anna"))[0] == 200
        for name, value in FORGED.items():
            assert (await ask(f"{proxy}/", "anna", {name: value}))[0] == 403, name

    behind(tmp_path, check, adds=True)


def test_the_page_configures_what_the_workers_listen_to() -> None:
    config, given = configured()
    headers = {one["name"]: one for one in config["injectRequestHeaders"]}
    fields = ("proxy_user_header", "proxy_groups_header", "proxy_secret_header")
    assert set(headers) == {WebSettings.model_fields[name].default for name in fields}
    assert not any(one["preserveRequestValue"] for one in headers.values())
    assert given["proxy_secret_file"] == headers["X-Stream-Proxy-Secret"]["values"][0]["secretSource"]["fromFile"]
