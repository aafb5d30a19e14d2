"""A peer that refuses one question answers the others: workers of two versions stand side by side while one replaces
the other."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from web_fake import NOW_MS, FakeWorker, World

from streamapp.facts.worker import WorkerFacts
from streamapp.web.workers import fleet, wire

VIEW = FakeWorker(World(hours_back=1, hostile=False), "agg-0")


def of_before(answer: web.Response | None) -> web.Application:
    """A worker of a version that knows the question `worker` alone; to any other it answers this, or 404."""
    app = web.Application()

    async def told(request: web.Request) -> web.Response:
        if request.match_info["topic"] == "worker":
            return web.Response(body=wire.encode(VIEW.worker()), headers={fleet.WORKER_HEADER: "agg-0"})
        return answer or web.Response(status=404)

    app.router.add_get("/_local/{topic}", told)
    return app


async def asked(answer: web.Response | None) -> tuple[fleet.Answer[list[str]], fleet.Answer[WorkerFacts]]:
    """What the peer says to a question that it does not know, and right then to one that it does."""
    async with TestServer(of_before(answer)) as server:
        asking = fleet.Fleet(None, lambda: NOW_MS, 30, lambda: (str(server.make_url("")),))
        first = await asking.ask("settings", {}, list[str])
        return first[0], (await asking.ask("worker", {}, WorkerFacts))[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "it does not know this question: it runs another version"),
        (web.Response(status=400), "it answered with status 400"),
        (web.Response(status=403), "it does not answer for this role"),
        (web.Response(status=503), "it answered with status 503"),
        (web.Response(body=b'{"another": "shape"}'), "its answer could not be read"),
    ],
)
def test_a_peer_that_refuses_one_question_is_asked_the_others(answer: web.Response | None, said: str) -> None:
    settings, worker = asyncio.run(asked(answer))
    assert (settings.problem, settings.value) == (said, None)
    assert (worker.problem, worker.worker) == ("", "agg-0")
    assert worker.value is not None


def test_a_peer_that_refuses_whoever_asks_rests() -> None:
    settings, worker = asyncio.run(asked(web.Response(status=401)))
    assert settings.problem == worker.problem == fleet.REFUSED[401]
    assert worker.value is None
