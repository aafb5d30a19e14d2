"""The job that checks again and again: what it keeps, what it serves, and that nothing ends it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from web_fake import OPEN

from streamapp.errors import Misconfigured, Refused, Unavailable
from streamapp.reconcile.reconciler import STUCK_S, Reconciler
from streamapp.reconcile.server import PORT, ReconcileMetrics, application
from streamapp.settings import ReconcileSettings, Settings
from streamapp.settings.web import WebSettings
from streamapp.topics.findings import KINDS, Finding
from streamapp.verify.pairs import NAMES, PAIRS, wanted
from streamapp.verify.report import PairReport
from streamapp.web.job import listen

PROJECT = Path(__file__).parent.parent.parent


class World:
    """Two pairs and a clock, all of which a test changes."""

    def __init__(self, interval_s: float = 300) -> None:
        self.now_ms = 1_000_000
        self.wrong = 0
        self.moves = False  # whether each reading finds the fault at another place
        self.error: Exception | None = None
        self.checked = 0
        pairs = (("a=b", self.first), ("b=c", self.second))
        self.job = Reconciler(
            Settings(reconcile=ReconcileSettings(interval_seconds=interval_s)), pairs, lambda: self.now_ms
        )

    def first(self, settings: Settings) -> PairReport:
        self.checked += 1
        if self.error is not None:
            raise self.error
        report = PairReport("a=b", "a", "b", events=7, waiting=2)
        if self.wrong:
            report.lost.add(f"a[0]@{self.checked if self.moves else 1}", "is not there", self.wrong)
        return report

    def second(self, settings: Settings) -> PairReport:
        return PairReport("b=c", "b", "c", events=1)

    def states(self) -> list[str]:
        return [standing.state for standing in self.job.standings]


def test_every_pair_has_its_newest_outcome() -> None:
    world = World()
    assert world.states() == ["pending", "pending"]
    world.job.round()
    assert world.states() == ["ok", "ok"]
    world.wrong, world.now_ms = 3, 2_000_000
    world.job.round()
    assert world.states() == ["wrong", "ok"]
    first = world.job.as_json()["pairs"][0]
    assert (first["difference"], first["lost"], first["checked_ms"]) == (3, 3, 2_000_000)
    assert first["examples"]["lost"] == [{"where": "a[0]@1", "what": "is not there"}]


def test_a_difference_that_moves_between_readings_is_reported_after_three_rounds() -> None:
    world = World()
    world.moves = True
    world.wrong = 2
    for state in ("ok", "ok"):
        world.job.round()
        assert world.states() == [state, "ok"]
    world.error = Unavailable("away")
    world.job.round()
    world.error = None
    world.job.round()
    assert world.states() == ["wrong", "ok"]
    assert world.job.as_json()["pairs"][0]["difference"] == 2
    world.wrong = 0
    world.job.round()
    world.wrong = 2
    world.job.round()
    assert world.states() == ["ok", "ok"], "a round without a difference begins the count anew"


def test_what_fails_for_a_moment_is_checked_in_the_same_round() -> None:
    world = World()
    failures = iter([Unavailable("silent")])

    def brief(settings: Settings) -> PairReport:
        for error in failures:
            raise error
        return world.second(settings)

    job = Reconciler(Settings(), (("a=b", brief), ("b=c", world.first)), lambda: world.now_ms)
    job.round()
    assert [standing.state for standing in job.standings] == ["ok", "ok"]
    assert world.checked == 1


@pytest.mark.parametrize("error", [Unavailable("away"), Misconfigured("wrong"), ZeroDivisionError("away")])
def test_a_check_that_fails_is_a_state_and_does_not_end_the_job(error: Exception) -> None:
    world = World()
    world.job.round()
    world.error, world.now_ms = error, 2_000_000
    world.job.round()
    assert world.states() == ["failed", "ok"]
    first = world.job.as_json()["pairs"][0]
    assert str(error) in first["error"]
    assert (first["checked_ms"], first["succeeded_ms"]) == (2_000_000, 1_000_000)
    world.error = None
    world.job.round()
    assert world.states() == ["ok", "ok"]


def test_rounds_follow_each_other_until_it_is_told_to_stop(until: Callable[..., None]) -> None:
    world, stop = World(interval_s=0.001), threading.Event()
    thread = threading.Thread(target=world.job.run, args=(stop,))
    thread.start()
    until(lambda: world.checked > 3)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def served(world: World, ask: Callable[[Callable[[str], Awaitable[tuple[int, str]]]], Awaitable[None]]) -> None:
    async def run() -> None:
        runner, port = await listen(application(world.job, OPEN, WebSettings()), "127.0.0.1", 0, PORT)
        try:
            async with aiohttp.ClientSession() as session:

                async def get(path: str) -> tuple[int, str]:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        return answer.status, await answer.text()

                await ask(get)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def samples(text: str) -> dict[tuple[str, str], float]:
    """(metric, pair) → value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "pair" in sample.labels:
                found[sample.name.removeprefix("stream_reconciliation_"), sample.labels["pair"]] = sample.value
    return found


def test_what_it_found_is_served() -> None:
    world = World()

    async def ask(get: Callable[[str], Awaitable[tuple[int, str]]]) -> None:
        assert samples((await get("/metrics"))[1]) == {}
        assert (await get("/health")) == (200, '{"status":"starting"}')
        assert (await get("/health/ready")) == (503, '{"status":"starting"}')
        world.wrong = 2
        world.job.round()
        told = samples((await get("/metrics"))[1])
        assert (told["difference", "a=b"], told["difference", "b=c"]) == (2, 0)
        assert (told["failed", "a=b"], told["events", "a=b"], told["waiting", "a=b"]) == (0, 7, 2)
        assert told["last_success_timestamp_seconds", "a=b"] == 1000
        status, text = await get("/reconciliation.json")
        found: dict[str, Any] = json.loads(text)
        assert (status, [pair["state"] for pair in found["pairs"]]) == (200, ["wrong", "ok"])
        assert found["interval_seconds"] == 300
        assert [await get(path) for path in ("/health", "/health/ready")] == [(200, '{"status":"ok"}')] * 2
        assert (await get("/anything"))[0] == 404

    served(world, ask)


def test_a_pair_that_could_not_be_checked_has_no_difference() -> None:
    world = World()
    world.error = Unavailable("away")
    world.job.round()

    async def ask(get: Callable[[str], Awaitable[tuple[int, str]]]) -> None:
        told = samples((await get("/metrics"))[1])
        assert told["failed", "a=b"] == 1
        assert ("difference", "a=b") not in told
        assert ("last_success_timestamp_seconds", "a=b") not in told
        assert told["difference", "b=c"] == 0

    served(world, ask)


def test_every_round_counts_the_findings_of_the_topics() -> None:
    found: list[Finding] = []
    error: list[Exception] = []

    def look(settings: Settings) -> list[Finding]:
        if error:
            raise error[0]
        return found

    job = Reconciler(Settings(), (), lambda: 0, look)
    metrics = ReconcileMetrics(lambda: job.standings, lambda: job.topic_findings)

    def told() -> dict[str, float]:
        families = text_string_to_metric_families(metrics.exposition().decode())
        rows = [sample for family in families for sample in family.samples if family.name == "stream_topics_findings"]
        return {sample.labels["kind"]: sample.value for sample in rows}

    assert told() == {}
    job.round()
    assert told() == dict.fromkeys(KINDS, 0)
    found += [Finding("topic_name", "X", "is X", "do"), Finding("topic_name", "Y", "is Y", "do")]
    job.round()
    assert told() == dict.fromkeys(KINDS, 0) | {"topic_name": 2}
    for one in (Unavailable("away"), ZeroDivisionError("unforeseen")):
        error[:] = [one]
        job.round()
        assert told() == {}, "unknown is absent"


def test_a_job_that_does_not_get_on_is_not_healthy() -> None:
    world = World()
    world.job.round()
    world.now_ms += round(1000 * (world.job.pause_s + STUCK_S)) + 1

    async def ask(get: Callable[[str], Awaitable[tuple[int, str]]]) -> None:
        assert (await get("/health")) == (503, '{"status":"stuck"}')
        assert (await get("/health/ready")) == (503, '{"status":"stuck"}')
        assert (await get("/health/live")) == (200, '{"status":"live"}')

    served(world, ask)


def test_a_port_that_is_taken_is_said() -> None:
    async def run() -> None:
        runner, port = await listen(application(World().job, OPEN, WebSettings()), "127.0.0.1", 0, PORT)
        try:
            with pytest.raises(Refused, match="STREAM_RECONCILE__PORT"):
                await listen(application(World().job, OPEN, WebSettings()), "127.0.0.1", port, PORT)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_pairs_are_chosen_by_name_in_their_own_order() -> None:
    assert [name for name, _ in wanted(NAMES)] == [pair.name for pair in PAIRS]
    assert [name for name, _ in wanted(tuple(reversed(NAMES[:2])))] == list(NAMES[:2])
    assert len({*NAMES}) == len(NAMES)
