"""What the watch serves: metrics, its last hour for the pages of groups, and the money of the workers it asks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from front_fake import everybody
from gates import HOST, MODES, PEER, credentials, settings
from prometheus_client.parser import text_string_to_metric_families
from test_web_pages import Reader
from web_fake import OPEN, FakeStandings, FakeWatch, Served, World, serving

from streamapp.clock import cpu_s, entropy, wall_ms
from streamapp.errors import Unavailable
from streamapp.kafka.groups import GroupSeen, Member, Seen
from streamapp.metrics import OPENMETRICS
from streamapp.settings import KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.topics.registry import GROUPS
from streamapp.watch import money
from streamapp.watch.lag import REASONS, GroupSeries, Memory, Series, Unread, Watched, step
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.money import Money, Told
from streamapp.watch.watcher import Known, Watcher
from streamapp.web.entry.gate import gate
from streamapp.web.entry.rights import ROLES, TABLE, may
from streamapp.web.job import application, listen
from streamapp.web.pages.front.lags import Minute, ask_watch
from streamapp.web.peers import Seals, unsigned
from streamapp.web.workers.open_money import OpenMoney

SCRAPE_S = 1.0
A = ("llm_usage", 0)


def test_a_scrape_of_a_thousand_partitions_takes_less_than_a_second() -> None:
    groups = {}
    for group in range(10):
        places = {("topic", number): Unread(number, 7, 1.5, 1e6, 2) for number in range(100)}
        groups[f"group-{group}"] = GroupSeries("stable", 3, 12.0, {"topic": 0.5}, places)
    known = Known(Series(groups, Counter()), succeeded_ms=1, problem="")
    metrics = WatchMetrics(lambda: known)
    begun_s = cpu_s()
    text = metrics.exposition().decode()
    assert cpu_s() - begun_s < SCRAPE_S
    samples = Counter(s.name for family in text_string_to_metric_families(text) for s in family.samples)
    per_partition = {
        "kafka_consumer_group_lag",
        "stream_lag_seconds",
        "stream_seconds_to_loss",
        "stream_records_expired_unread_total",
    }
    assert {samples[name] for name in per_partition} == {1000}


def told(group: str, lag: int, expired: int, *, known: bool = True) -> Series:
    (topic,) = next(one.topics for one in GROUPS if one.name == group)
    places = {(topic, 0): Unread(lag, 0, 1.0, 1.0, expired)} if known else {}
    return Series({group: GroupSeries("stable", 1, None, {}, places)}, Counter())


def test_money_is_three_sums_and_what_is_not_known_is_none() -> None:
    group = money.billing()[:1]
    place = group[0].name, group[0].topics[0]
    memory, found = money.step(money.NOTHING, told(group[0].name, 10, 0), {}, group)
    assert found == {place: Money(None, None, Decimal(0))}
    memory, found = money.step(memory, told(group[0].name, 10, 0), {group[0].name: Told(Decimal(6), 3)}, group)
    assert found == {place: Money(Decimal(6), Decimal(20), Decimal(0))}
    memory, found = money.step(memory, told(group[0].name, 4, 5), {group[0].name: None}, group)
    assert found == {place: Money(None, Decimal(8), Decimal(10))}, "an estimate goes on from the last mean"
    memory, found = money.step(memory, told(group[0].name, 0, 5), {group[0].name: Told(Decimal(0), 0)}, group)
    assert found == {place: Money(Decimal(0), Decimal(0), Decimal(10))}
    assert money.step(memory, told(group[0].name, 0, 0, known=False), {}, group)[1] == {place: Money(None, None, None)}
    late = money.step(money.NOTHING, told(group[0].name, 4, 5), {}, group)
    assert late[1] == {place: Money(None, None, None)}
    known = {group[0].name: Told(Decimal(6), 3)}
    assert money.step(late[0], told(group[0].name, 4, 5), known, group)[1][place].lost == 10


def seen_of(views: Any, group: str) -> Seen:
    urls = [view.url for view in views if view.group == group]
    members = tuple(Member("c", "host", b'{"url":"%s"}' % url.encode(), ()) for url in urls)
    return Seen({group: GroupSeen("Stable", members, {})}, {}, {})


def test_open_money_is_told_by_all_workers_or_not_at_all() -> None:
    world = World(hours_back=2, hostile=False)
    views, _, _ = everybody(world)
    mine = [view for view in views if view.group == "billing-agg"]
    other = [view for view in views if view.group == "rpc-billing"]

    async def run() -> None:
        async with serving(*mine, *other, peer_timeout_s=5):
            asking = OpenMoney(lambda: world.now_ms, 5)
            found = await asking.ask(seen_of(mine, "billing-agg"))
            total = sum((view.worker().open_cost.get("USD", Decimal(0)) for view in mine), Decimal(0))
            events = sum((view.worker().open_events or {}).get("USD", 0) for view in mine)
            assert found == {"billing-agg": Told(total, events), "rpc-billing": None}
            assert total > 0
            assert events > 0
            one = await OpenMoney(lambda: world.now_ms, 5).ask(seen_of(mine[:1], "billing-agg"))
            assert one["billing-agg"] is None, "another owner was not asked"
            silent = await OpenMoney(lambda: world.now_ms, 5).ask(seen_of(other, "rpc-billing"))
            assert silent["rpc-billing"] is None, "these answer, and their table does not tell money"

    asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_the_watch_answers_by_role_and_to_the_pages(tmp_path: Path, mode: str) -> None:
    watcher = Watcher(KafkaSettings(), wall_ms, 15, registry=())
    metrics = WatchMetrics(lambda: watcher.known)

    async def run() -> None:
        door = gate(settings(tmp_path, mode), "0.0.0.0", wall_ms)
        app = application(door, WebSettings(), metrics.exposition, watcher.health, {"/watch.json": watcher.as_json})
        runner, port = await listen(app, "127.0.0.1", 0, "STREAM_WATCH__PORT")
        base = f"http://127.0.0.1:{port}"
        try:
            async with aiohttp.ClientSession() as session:
                for path in ("/metrics", "/watch.json", "/health"):
                    for role in (None, *ROLES):
                        headers = {"Host": HOST, "Accept": OPENMETRICS, **credentials(mode, role)}
                        async with session.get(base + path, headers=headers) as answer:
                            allowed = may(frozenset() if role is None else frozenset({role}), TABLE[path].least)
                            assert (answer.status not in {401, 403}) == allowed, (path, role)
                            if path == "/metrics" and allowed:
                                assert answer.headers["Content-Type"] == OPENMETRICS
                                assert (await answer.read()).endswith(b"# EOF\n")
            seals = Seals(lambda: (PEER.encode(),), wall_ms, entropy)
            assert await ask_watch(base, 5, seals.sign) == {}
            with pytest.raises(Unavailable, match="it answered with status 40"):
                await ask_watch(base, 5, unsigned)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_a_watch_is_ready_from_its_first_look_on_and_stays_so_while_kafka_is_away() -> None:
    now_ms = [0]

    async def away(*words: object, **more: object) -> Seen:
        raise Unavailable("Kafka does not answer")

    watcher = Watcher(KafkaSettings(), lambda: now_ms[0], 15, registry=(), looked=away)

    async def run() -> None:
        app = application(OPEN, WebSettings(), bytes, watcher.health, {})
        runner, port = await listen(app, "127.0.0.1", 0, "STREAM_WATCH__PORT")

        async def told() -> tuple[str, list[int]]:
            statuses = []
            for path in ("/health", "/health/ready", "/health/live"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    statuses.append(answer.status)
            return watcher.health(), statuses

        async with aiohttp.ClientSession() as session:
            assert await told() == ("starting", [200, 503, 200])
            await watcher.look()
            assert await told() == ("blind", [200, 200, 200])
            now_ms[0] = 200_000
            assert await told() == ("stuck", [503, 503, 200])
        await runner.cleanup()

    asyncio.run(run())


def visit(watch: FakeWatch, check: Callable[[Reader, World], Awaitable[None]]) -> None:
    world = World(hours_back=2, hostile=False)
    views, _, extra = everybody(world)

    async def run() -> None:
        serve = serving(*views, standings=FakeStandings(views), extra=extra, peer_timeout_s=5, watch=watch)
        served: list[Served]
        async with serve as served, aiohttp.ClientSession() as session:
            await check(Reader(session, served[0].url), world)

    asyncio.run(run())


def test_a_groups_page_draws_its_last_hour_and_says_when_nobody_tells_it() -> None:
    minutes = [Minute(0, 5, 90.0, 7200.0), Minute(60_000, 9, 150.0, None), Minute(240_000, 700, 4000.0, 3600.0)]
    watch = FakeWatch({"billing-ledger": minutes})

    async def check(reader: Reader, world: World) -> None:
        twin = await eventually(reader, world, "/groups/billing-ledger.json", lambda twin: twin["minutes"])
        assert [one["lag"] for one in twin["minutes"]] == [5, 9, None, None, 700]
        text = (await reader.get("/groups/billing-ledger"))[1]
        assert text.count('class="panel"') == 3
        assert 'data-chart="age" data-unit="s" data-lines data-first="0"' in text
        assert "<b>700</b>" in text
        assert "lightweight-charts.js" in text
        watch.problem = "no connection"
        twin = await eventually(reader, world, "/groups/billing-agg.json", lambda twin: not twin["minutes"])
        world.now_ms += 60_000
        await reader.get("/groups/billing-agg")
        world.now_ms += 60_000
        assert "streamapp watch" in (await reader.get("/groups/billing-agg"))[1]

    visit(watch, check)


async def eventually(reader: Reader, world: World, path: str, holds: Callable[[Any], Any]) -> Any:
    """Pages wait for nobody: the first may not know all."""
    for _ in range(100):
        twin = await reader.json(path.removesuffix(".json"))
        if holds(twin):
            return twin
        world.now_ms += 1000
        await asyncio.sleep(0.05)
    raise AssertionError(twin)


def test_an_hour_is_kept_by_the_minute() -> None:
    one = Watched("g", "llm_usage", 1, 86_400_000)
    watcher = Watcher(KafkaSettings(), lambda: 0, 15, registry=[one])
    group = GroupSeen("Empty", (), {A: 0})
    _, series = step([one], Memory(), Seen({"g": group}, {A: 0}, {A: 9}, names=frozenset()), 0)
    for at_ms in range(0, 2 * 3_600_000, 15_000):
        watcher.remember(replace(series, unknown=dict.fromkeys(REASONS, 0)), {}, at_ms)
    kept = watcher.known.minutes["g"]
    assert [minute.start_ms for minute in kept] == list(range(3_600_000, 2 * 3_600_000, 60_000))
    assert watcher.as_json()["groups"]["g"][0] == [3_600_000, 9, None, None]
