"""The front page: every group whichever worker serves it, Kafka or workers away, charts, pages of other groups."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from front_fake import everybody, told
from letters_fake import FakeLetters, letter
from test_web_pages import Reader
from web_fake import FakeStandings, Served, World, serving

from streamapp.topics.registry import GROUPS
from streamapp.watch.lag import Unread
from streamapp.watch.standing import Standing
from streamapp.web.pages.models import charts
from streamapp.web.pages.models.charts import Minute, whole_hour
from streamapp.web.workers import kept

Check = Callable[[Reader, "Stage"], Awaitable[None]]


class Stage:
    """Every group's workers, served, and Kafka's word of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.views, self.teller, self.extra = everybody(world)
        self.kafka = FakeStandings(self.views)
        self.served: list[Served] = []

    def first(self, group: str) -> Served:
        return next(one for one in self.served if one.view.group == group)

    def later(self) -> None:
        """What was heard is old, and is asked again."""
        self.world.now_ms += kept.GOOD_MS + 1000


def visit(check: Check, world: World | None = None, refused: int = 0) -> None:
    stage = Stage(world or World(hours_back=2, hostile=False))

    async def run() -> None:
        letters = FakeLetters([letter(number) for number in range(refused)])
        serve = serving(*stage.views, letters=letters, standings=stage.kafka, extra=stage.extra, peer_timeout_s=5)
        async with serve as stage.served, aiohttp.ClientSession() as session:
            await check(Reader(session, stage.served[0].url), stage)

    asyncio.run(run())


async def eventually(stage: Stage, ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """Ask until the answer holds, a second later each time: pages wait for nobody, so the first may not know all."""
    for _ in range(200):
        answer = await ask()
        if holds(answer):
            return answer
        stage.world.now_ms += 1000
        await asyncio.sleep(0.05)
    raise AssertionError(answer)


def states(twin: Any) -> dict[str, str]:
    return {one["group"]: one["state"] for one in twin["groups"]}


async def everywhere(reader: Reader, stage: Stage) -> Any:
    """The front page when it knows every group."""
    expected = {one.name: one.consumers for one in GROUPS}

    def known(twin: Any) -> bool:
        answering = {one["group"]: one["answering_workers"] for one in twin["groups"]}
        return answering == expected and twin["letters_waiting"] is not None

    return await eventually(stage, lambda: reader.json("/"), known)


def test_every_worker_shows_every_group() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        for group in ("billing-agg", "llm-metrics", "billing-ledger"):
            mine = Reader(reader.session, stage.first(group).url)
            twin = await everywhere(mine, stage)
            assert [one["group"] for one in twin["groups"]] == [one.name for one in GROUPS]
            assert set(states(twin).values()) == {"running"}
            # All groups run, and yet not all is well: somebody must look at what was refused.
            assert twin["verdict"] == "stale"
            assert [one["text"] for one in twin["findings"]] == ["3 dead letters wait for review."]
            assert twin["letters_waiting"] == 3
            assert float(twin["money"][0]["open"]) > 0
            text = (await mine.get("/"))[1]
            assert all(f'href="/groups/{one.name}"' in text for one in GROUPS)
            assert "analytics-ingest-host-3 has 12, 13, 14, 15" in text
            assert '<a href="/letters">3 dead letters wait for review.</a>' in text
            assert "All is well" not in text

    visit(check, refused=3)


def test_a_group_without_a_worker_is_wrong_and_one_that_never_ran_is_not() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        behind = {("billing_events", number): Unread(40, 7, 90.0, 7200.0) for number in range(4)}
        stage.kafka.said = {
            "billing-ledger": Standing("no worker", behind=behind),
            "rpc-billing": Standing("never started", behind={("agent_rpc_metering", 0): Unread(7)}),
            "audit-archive": Standing("unknown", problem="GroupAuthorizationFailedError"),
        }
        twin = await eventually(stage, lambda: reader.json("/"), lambda twin: states(twin)["llm-metrics"] == "running")
        found = states(twin)
        assert (found["billing-ledger"], found["rpc-billing"], found["audit-archive"]) == (
            "no worker",
            "never started",
            "unknown",
        )
        assert twin["verdict"] == "wrong"
        assert [(one["group"], one["text"]) for one in twin["findings"]] == [
            ("billing-ledger", "No worker runs; 160 records wait."),
            ("billing-ledger", "Unread records expire in 2 h."),
            ("audit-archive", "Kafka does not say how it stands: GroupAuthorizationFailedError."),
        ]
        text = (await reader.get("/groups/billing-ledger"))[1]
        assert "faust --loop=uvloop -A streamapp.agents.billing_ledger worker" in text
        assert text.count("wrong-row") == 4

    visit(check)


def test_when_kafka_is_away_the_page_says_so_and_keeps_what_it_knows() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        await everywhere(reader, stage)
        stage.kafka.problem = "Kafka at 127.0.0.1:9092 does not answer"
        stage.later()
        twin = await eventually(stage, lambda: reader.json("/"), lambda twin: twin["verdict"] == "stale")
        assert set(states(twin).values()) == {"running"}
        assert (
            "(Kafka at 127.0.0.1:9092 does not answer). Consumer group status is from " in twin["findings"][0]["text"]
        )
        stage.kafka.problem = ""
        stage.later()
        await eventually(stage, lambda: reader.json("/"), lambda twin: twin["verdict"] == "ok")

    visit(check)


def test_before_kafka_has_ever_answered_the_own_workers_are_there() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        stage.kafka.problem = "Kafka at 127.0.0.1:9092 does not answer"
        twin = await eventually(
            stage, lambda: reader.json("/"), lambda twin: "does not answer" in twin["findings"][0]["text"]
        )
        assert states(twin) == {one.name: "unknown" for one in GROUPS} | {"billing-agg": "running"}
        assert (await reader.get("/usage"))[0] == 200
        other = Reader(reader.session, stage.first("rpc-billing").url)
        status, text, _ = await other.get("/usage")
        assert (status, "No worker of billing-agg answers" in text) == (503, True)

    visit(check)


def test_what_comes_of_kafka_being_away_stands_behind_it() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        stage.views[0].changed = {0: {"trouble": "the store is away"}}
        stage.kafka.answers.clear()

        async def two() -> list[tuple[str, bool]]:
            twin = await reader.json("/")
            assert twin["verdict"] == "wrong"
            return [(one["level"], "Kafka" in one["text"]) for one in twin["findings"][:2]]

        assert await two() == [("wrong", False), ("stale", True)], "one waits for its first answer"
        stage.kafka.problem = "Kafka at 127.0.0.1:9092 does not answer"
        stage.kafka.answers.set()
        await eventually(stage, two, lambda found: found == [("wrong", True), ("wrong", False)])
        stage.views[0].changed = {}
        twin = await eventually(stage, lambda: reader.json("/"), lambda twin: twin["verdict"] == "stale")
        assert twin["findings"][0]["level"] == "stale"

    visit(check)


def test_a_worker_of_another_group_that_falls_silent_is_named() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        await everywhere(reader, stage)
        await stage.first("audit-archive").stop()
        stage.later()
        twin = await eventually(stage, lambda: reader.json("/"), lambda twin: states(twin)["audit-archive"] == "silent")
        assert twin["findings"][0]["group"] == "audit-archive"
        where = stage.first("audit-archive").url.removeprefix("http://")
        assert f"Worker audit-archive-host-0 at {where} does not answer (no connection)" in twin["findings"][0]["text"]
        text = (await reader.get("/groups/audit-archive"))[1]
        assert "stale-row" in text

    visit(check)


def test_while_a_group_rebalances_its_workers_are_where_they_were() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        await everywhere(reader, stage)
        stage.kafka.said = {"rpc-billing": Standing("rebalancing")}
        stage.later()
        twin = await eventually(
            stage, lambda: reader.json("/"), lambda twin: states(twin)["rpc-billing"] == "rebalancing"
        )
        assert {one["group"]: one["answering_workers"] for one in twin["groups"]}["rpc-billing"] == 2

    visit(check)


def test_one_address_is_enough_for_the_pages_of_every_group() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        mine = Reader(reader.session, stage.first("billing-ledger").url)
        await everywhere(mine, stage)
        hours = await mine.json("/usage?limit=500")
        assert hours["matching"] == len(stage.world.buckets)
        bill_id = next(iter(stage.world.bills))
        assert (await mine.get(f"/bills/{bill_id}"))[0] == 200
        assert (await mine.get(f"/bills/{bill_id}/statement"))[0] == 200
        group = await mine.json("/groups/rpc-billing")
        assert [one["name"] for one in group["tables"]] == ["accounts"]
        rows = await mine.json(group["tables"][0]["url"])
        assert (rows["group"], [row["partition"] for row in rows["rows"]]) == ("rpc-billing", list(range(8)))
        assert (await mine.json("/tables/accounts"))["rows"] == rows["rows"]
        page = await mine.json("/tables/accounts?group=rpc-billing&limit=3")
        assert "group=rpc-billing" in page["next"]
        told = (await mine.json("/tables"))["tables"]
        assert {one["name"]: one["about"].split(",")[0] for one in told}["usage_hourly"] == "usage by org"
        listed = {(one["group"], one["name"]) for one in told}
        assert listed == {
            ("billing-agg", "usage_hourly"),
            ("rpc-billing", "accounts"),
            ("llm-metrics", "minutes"),
        }
        assert (await mine.get("/tables/accounts?group=nobody"))[0] == 404
        assert (await mine.get("/groups/nobody"))[0] == 404

    visit(check)


def test_charts_are_passed_on_from_any_worker_of_llm_metrics() -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        await everywhere(reader, stage)
        drawn = await eventually(stage, lambda: reader.json("/charts.json"), lambda twin: twin["minutes"])
        said = told(stage.world.now_ms)["minutes"]
        assert len(drawn["minutes"]) == 60
        assert drawn["minutes"][-1]["total_tokens"] == said[-1]["total_tokens"]
        assert drawn["minutes"][-1]["cost"] == said[-1]["cost"]
        assert not drawn["stale"]
        assert set(stage.teller.asked) == {"/latency.json?minutes=60"}
        text = (await reader.get("/"))[1]
        assert 'data-chart="tokens"' in text
        assert "lightweight-charts.js" in text
        first = stage.first("llm-metrics")
        await first.stop()
        stage.later()
        await eventually(
            stage, lambda: reader.json("/charts.json"), lambda twin: not twin["stale"]
        )  # the other one tells
        await next(one for one in stage.served if one.view.group == "llm-metrics" and one is not first).stop()
        stage.later()
        late = await eventually(stage, lambda: reader.json("/charts.json"), lambda twin: twin["stale"])
        assert (late["problem"], len(late["minutes"])) == ("no worker of llm-metrics answers", 60)
        assert "the charts are as of" in (await reader.get("/"))[1]

    visit(check)


@pytest.mark.parametrize("said", [{"minutes": [{"start_ms": "x"}]}, {"minutes": 3}])
def test_an_answer_that_draws_nothing_is_no_answer(said: Any) -> None:
    async def check(reader: Reader, stage: Stage) -> None:
        await everywhere(reader, stage)
        stage.teller.said = said
        stage.later()
        heard = await eventually(stage, lambda: reader.json("/charts.json"), lambda twin: twin["stale"])
        assert heard["problem"] == "no worker of llm-metrics answers"

    visit(check)


def test_minutes_without_usage_are_filled_in() -> None:
    told_ = [Minute(180_000, requests=2, cost={"AI": "0.5"}), Minute(0, cost={"AI": "0.25", "EUR": "x"})]
    hour = whole_hour(told_)
    assert [one.start_ms for one in hour.minutes] == [0, 60_000, 120_000, 180_000]
    assert (hour.currency, str(hour.spent), hour.newest) == ("AI", "0.75", told_[0])
    tokens, cost, latency = charts.panels(hour)
    assert cost.series[0][2] == (0.25, 0.0, 0.0, 0.5)
    assert latency.top == 0.0
    assert latency.lines() == [("p99", ""), ("p95", ""), ("p50", "")]
    assert json.loads(tokens.json())[0][:2] == ["total", "completion"]
    assert whole_hour([]).minutes == ()
    assert len(whole_hour([Minute(0), Minute(60_000 * 500)]).minutes) == 60


def test_a_page_does_not_wait_for_whoever_is_slow() -> None:
    """The last answer at once; an old one is waited for no longer than a first paint may take."""

    async def run() -> None:
        now_ms, gate = [0], asyncio.Event()
        gate.set()
        asked = 0

        async def ask() -> int:
            nonlocal asked
            asked += 1
            await gate.wait()
            return asked

        question = kept.Kept(ask, lambda: now_ms[0])
        assert (await question.get()).value == 1
        gate.clear()
        now_ms[0] += kept.FRESH_MS
        assert (await question.get()).value == 1  # asked behind it
        now_ms[0] += kept.GOOD_MS
        heard = await question.get()
        assert (heard.value, heard.as_of_ms, asked) == (1, 0, 2)  # waited, in vain, and not asked twice
        gate.set()
        assert (await question.get()).value == 2

    asyncio.run(run())
