"""The front page's section of what the reconciliation job found, with the job's real server behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from web_fake import NOW_MS, OPEN, FakeWorker, World, serving

from streamapp.errors import Unavailable
from streamapp.reconcile.reconciler import Reconciler
from streamapp.reconcile.server import PORT, application
from streamapp.settings import Settings
from streamapp.settings.web import WebSettings
from streamapp.verify.report import PairReport
from streamapp.web.job import listen
from streamapp.web.pages.front.reconciliation import (
    KNOWN_MS,
    LATE_MS,
    REST_MS,
    AskedReconciliation,
    Facts,
    Reconciliation,
)


class Front:
    """The job with one pair, and a clock. `wrong` and `error` say what its next round finds."""

    def __init__(self) -> None:
        self.world = World(hours_back=2, hostile=False)
        self.wrong, self.error = 0, ""
        self.job = Reconciler(Settings(), (("usage=bills", self.check),), self.clock)

    def clock(self) -> int:
        return self.world.now_ms

    def check(self, settings: Settings) -> PairReport:
        if self.error:
            raise Unavailable(self.error)
        report = PairReport("usage=bills", "llm_usage", "billing_events", events=1234, waiting=5)
        if self.wrong:
            report.lost.add("llm_usage[3]@17", "<b>stands on no bill</b>", self.wrong)
        return report


Ask = Callable[[AskedReconciliation, Callable[[], Awaitable[None]]], Awaitable[None]]


def asked(front: Front, ask: Ask) -> None:
    """Serve the job; `ask` gets its reader, and how to end the job."""

    async def run() -> None:
        runner, port = await listen(application(front.job, OPEN, WebSettings()), "127.0.0.1", 0, PORT)
        try:
            await ask(AskedReconciliation(f"http://127.0.0.1:{port}/", 2.0, front.clock), runner.cleanup)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_what_it_found_is_read() -> None:
    front = Front()

    async def ask(reader: AskedReconciliation, _: Callable[[], Awaitable[None]]) -> None:
        (pair,) = (await reader.now()).pairs
        assert (pair.state, pair.level, pair.difference) == ("pending", "ok", None)
        front.job.round()
        assert (await reader.now()).pairs == (pair,)  # shared for a second
        for wrong, error, level, words, details in (
            (0, "", "ok", "match", ()),
            (2, "", "wrong", "2 do not match", ("lost: llm_usage[3]@17: <b>stands on no bill</b>",)),
            (0, "Kafka is away", "stale", "not checked", ("Kafka is away",)),
        ):
            front.wrong, front.error = wrong, error
            front.world.now_ms += 1000
            front.job.round()
            facts = await reader.now()
            assert (facts.level, facts.problem) == (level, "")
            assert (facts.pairs[0].words, facts.pairs[0].details) == (words, details)
            assert facts.pairs[0].sides == ("" if error else "llm_usage and billing_events")
            assert [finding.level for finding in facts.findings()] == ([] if level == "ok" else [level])

    asked(front, ask)


def test_a_pair_that_was_not_checked_for_long_is_stale() -> None:
    front = Front()

    async def ask(reader: AskedReconciliation, _: Callable[[], Awaitable[None]]) -> None:
        front.job.round()
        front.world.now_ms += 600_000 + LATE_MS
        assert (await reader.now()).level == "ok"
        front.world.now_ms += 1000
        assert (await reader.now()).level == "stale"

    asked(front, ask)


def test_a_job_that_fell_silent_is_stale_and_then_unknown() -> None:
    front = Front()

    async def ask(reader: AskedReconciliation, end: Callable[[], Awaitable[None]]) -> None:
        front.job.round()
        before = await reader.now()
        await end()
        front.world.now_ms += 1000
        facts = await reader.now()
        assert (facts.level, facts.problem, facts.pairs, facts.as_of_ms) == (
            "stale",
            "no connection",
            before.pairs,
            NOW_MS,
        )
        front.world.now_ms += max(KNOWN_MS, REST_MS)
        assert await reader.now() == Facts(problem="no connection")

    asked(front, ask)


@pytest.mark.parametrize(
    ("answer", "words"), [(b"[]", "could not be read"), (b"x" * (5 << 20), "could not be read"), (None, "status 503")]
)
def test_an_answer_that_is_none_is_silence(answer: bytes | None, words: str) -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=503) if answer is None else web.Response(body=answer)

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/reconciliation.json", respond)])
        runner, port = await listen(app, "127.0.0.1", 0, PORT)
        try:
            facts = await AskedReconciliation(f"http://127.0.0.1:{port}", 2.0, lambda: NOW_MS).now()
            assert words in facts.problem
        finally:
            await runner.cleanup()

    asyncio.run(run())


def front_page(front: Front, ends: bool = False) -> tuple[str, dict[str, Any]]:
    """The page and its JSON twin."""
    found: list[str] = []

    async def ask(reader: AskedReconciliation, end: Callable[[], Awaitable[None]]) -> None:
        if ends:
            await end()
        async with serving(FakeWorker(front.world, "agg-0"), reconciliation=reader) as served:
            async with aiohttp.ClientSession() as session:
                for accept in ("text/html", "application/json"):
                    async with session.get(served[0].url, headers={"Accept": accept}) as answer:
                        found.append(await answer.text())
            assert 'id="live-reconciliation"' in (await served[0].pages.parts("/"))["live-reconciliation"]

    asked(front, ask)
    return found[0], json.loads(found[1])


def test_the_front_page_says_that_all_agree() -> None:
    front = Front()
    front.job.round()
    html, twin = front_page(front)
    assert "match</span>" in html
    assert "All is well" in html
    assert twin["reconciliation"]["level"] == "ok"
    assert twin["reconciliation"]["pairs"][0]["events"] == 1234


def test_a_difference_is_the_verdict_of_the_front_page() -> None:
    front = Front()
    front.wrong = 1
    front.job.round()
    html, twin = front_page(front)
    assert "Something is wrong" in html
    assert "llm_usage and billing_events: 1 does not match." in html
    assert "&lt;b&gt;stands on no bill" in html
    assert (twin["verdict"], twin["reconciliation"]["level"]) == ("wrong", "wrong")


def test_a_silent_job_is_said_in_words_and_leaves_the_verdict() -> None:
    html, twin = front_page(Front(), ends=True)
    assert "The reconciliation job does not answer (no connection)" in html
    assert "streamapp reconcile" in html
    assert (twin["verdict"], twin["reconciliation"]["level"]) == ("ok", "stale")


def test_a_page_that_was_not_told_where_the_job_is() -> None:
    assert asyncio.run(Reconciliation().now()).level == "ok"
