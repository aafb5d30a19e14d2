"""`/metrics` and `/health` on a port of their own, of workers, reconcile and capture; then metrics are nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from capture_calls import InMemory, directory_in
from gates import HOST, METRICS, MODES, credentials, settings
from web_fake import FakeWorker, World

from streamapp.cli.capture import _apart
from streamapp.clock import wall_ms
from streamapp.errors import Refused
from streamapp.processes.child import free_port
from streamapp.reconcile.reconciler import Reconciler
from streamapp.reconcile.server import PORT, application
from streamapp.settings import Settings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import gate
from streamapp.web.job import listen
from streamapp.web.monitor import beside, listen_apart
from streamapp.web.routes import mount

WORLD = World(hours_back=1, hostile=False)


async def status(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None) -> int:
    async with session.get(url, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("mode", ["none", *MODES])
@pytest.mark.parametrize("process", ["worker", "reconcile"])
def test_metrics_are_on_their_port_alone_and_ask_nobody_there(tmp_path: Path, mode: str, process: str) -> None:
    apart = free_port()
    web_settings = settings(tmp_path, mode, monitor_port=apart - 3)
    host = "127.0.0.1" if mode == "none" else HOST

    async def run() -> None:
        door = gate(web_settings, "127.0.0.1", WORLD.clock)
        if process == "reconcile":
            app = application(
                Reconciler(Settings(), (), wall_ms, lambda _: []),
                door,
                web_settings.model_copy(update={"monitor_port": apart}),
            )
        else:
            app = web.Application()
            site = mount(app, FakeWorker(WORLD, "agg-0"), clock=WORLD.clock, peer_timeout_s=5, gate=door)
            beside(app, web_settings, 3, {"/metrics": site.metrics, "/health": site.health})
        async with AsyncExitStack() as stack:
            runner, port = await listen(app, "127.0.0.1", 0, PORT)
            stack.push_async_callback(runner.cleanup)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            other = f"http://127.0.0.1:{apart}"
            for path, expected in (("/metrics", 200), ("/health", 200), ("/", 404), ("/index.json", 404)):
                assert await status(session, other + path) == expected, path
            async with session.get(f"{other}/health") as answer:
                assert process == "reconcile" or "worker" in await answer.json(), "all of it"
            for sent in (credentials(mode, "operator"), {"Authorization": f"Bearer {METRICS}"}):
                assert await status(session, f"http://127.0.0.1:{port}/metrics", {"Host": host, **sent}) == 403
            assert await status(session, f"http://127.0.0.1:{port}/health", {"Host": host}) == 200
            await runner.cleanup()
            with pytest.raises(aiohttp.ClientConnectionError):
                await status(session, f"{other}/metrics")

    asyncio.run(run())


def test_capture_says_nothing_of_itself_on_its_public_port(tmp_path: Path) -> None:
    capture = InMemory(directory_in(tmp_path))
    assert capture.call(path="/metrics", method="GET").status == 200

    async def run() -> None:
        made = await listen_apart(WebSettings(monitor_port=(port := free_port())), 0, _apart(capture.app))
        assert made is not None
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert (answer.status, "capture_" in await answer.text()) == (200, True)
            assert await status(session, f"http://127.0.0.1:{port}/health") in {200, 503}
            assert await status(session, f"http://127.0.0.1:{port}/e") == 404
        await made.cleanup()

    asyncio.run(run())
    capture.app.shown.remove("/metrics")
    assert capture.call(path="/metrics", method="GET").status == 404


def test_what_is_taken_is_passed_over_and_without_a_port_nothing_listens() -> None:
    async def run() -> None:
        assert await listen_apart(WebSettings(), 0, {}) is None
        wanted = WebSettings(monitor_port=free_port())
        first, second = await listen_apart(wanted, 0, {}), await listen_apart(wanted, 0, {})
        assert first is not None
        assert second is not None
        assert second.addresses[0][1] > first.addresses[0][1] == wanted.monitor_port
        for runner in (first, second):
            await runner.cleanup()
        with pytest.raises(Refused, match="set STREAM_WEB__MONITOR_PORT"):
            await listen_apart(WebSettings(monitor_port=65_000, monitor_host="192.0.2.1"), 0, {})

    asyncio.run(run())
