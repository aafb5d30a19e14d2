"""The pages over HTTP: one worker, several workers, hostile names, failing peers, JSON twins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from web_fake import HOSTILE, NOW_MS, OPEN, FakeWorker, Served, World, serving
from yarl import URL

from streamapp.errors import Unavailable
from streamapp.facts.worker import RowFacts
from streamapp.store.rocks import Damaged
from streamapp.web import live, show, sitemap
from streamapp.web.routes import mount
from streamapp.web.workers import fleet

HOUR_MS = 3_600_000
HTML = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


class Reader:
    """A client of one worker's pages."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session, self.base = session, base

    async def get(self, path: str, accept: str = "text/html", **headers: str) -> tuple[int, str, Mapping[str, str]]:
        url = URL(self.base + path, encoded=True)
        async with self.session.get(url, headers={"Accept": accept, **headers}, allow_redirects=False) as answer:
            return answer.status, await answer.text(), answer.headers

    async def json(self, path: str) -> Any:
        return json.loads((await self.get(path, "application/json"))[1])


def visit(check: Callable[[Reader, list[Served]], Awaitable[None]], *views: FakeWorker, timeout_s: float = 10) -> None:
    """Serve the views and let `check` read the first one's pages."""

    async def run() -> None:
        async with serving(*views, peer_timeout_s=timeout_s) as served, aiohttp.ClientSession() as session:
            await check(Reader(session, served[0].url), served)

    asyncio.run(run())


def pair(world: World) -> tuple[FakeWorker, FakeWorker]:
    return FakeWorker(world, "agg-0", range(4)), FakeWorker(world, "agg-1", range(4, 8))


WORLD = World(hours_back=30)
A_BILL = next(bill_id for bill_id, bucket in WORLD.bills.items() if WORLD.revisions(bucket) > 1)
PAGES = (
    "/",
    "/groups/billing-agg",
    "/groups/rpc-billing",
    "/charts",
    "/usage",
    show.team_url("org_acme", "team_search"),
    f"/bills/{A_BILL}",
    "/tables",
    "/tables/usage_hourly",
    "/tables/usage_hourly/hours",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_its_json_twin(path: str) -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, headers = await reader.get(path)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert 'style="' not in text
        by_accept = await reader.get(path, "application/json")
        by_suffix = await reader.get(("/index" if path == "/" else path) + ".json")
        assert by_accept[0] == by_suffix[0] == 200
        assert by_accept[1] == by_suffix[1]
        assert json.loads(by_accept[1])

    visit(check, FakeWorker(WORLD, "agg-0"))


def test_only_forms_have_no_twin() -> None:
    named = {sitemap.canonical(pattern) for pattern, _, _ in sitemap.PAGES if not pattern.endswith("}")}
    without = {path for path in named if f"{path}.json" not in map(sitemap.canonical, sitemap.TWINS)}
    assert without == {"/", "/act", "/letters/{id}/unmask"}
    assert "/index.json" in sitemap.TWINS


def test_a_key_of_another_worker_is_found_there() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        for worker in served:
            mine = Reader(reader.session, worker.url)
            assert (await mine.get(f"/bills/{A_BILL}"))[0] == 200
            assert (await mine.get(show.team_url("org_hanzo", "team_abc123")))[0] == 200
            found = await mine.json("/usage?limit=500")
            assert {row["worker"] for row in found["hours"]} == {"agg-0", "agg-1"}
            assert found["matching"] == len(WORLD.buckets)
            front = await mine.json("/")
            assert front["verdict"] == "ok", front["findings"]
            assert len((await mine.json("/groups/billing-agg"))["partitions"]) == 8

    visit(check, *pair(WORLD), timeout_s=10)


@pytest.mark.parametrize(("org", "team"), HOSTILE)
def test_hostile_names_find_their_page_and_are_escaped(org: str, team: str) -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, _ = await reader.get(show.team_url(org, team))
        assert status == 200
        assert "<script>alert" not in text
        assert "<b>x</b>" not in text
        assert "\u202e" not in text
        twin = await reader.json(show.team_url(org, team))
        assert (twin["org"], twin["team"]) == (org, team)
        assert (await reader.get("/usage?limit=500&team=" + quote(team)))[0] == 200
        bill_id = twin["currencies"][0]["hours"][1]["bill_id"]
        status, text, _ = await reader.get(f"/bills/{bill_id}")
        assert status == 200
        assert "<script>alert" not in text

    visit(check, FakeWorker(WORLD, "agg-0"))


def test_a_name_that_ends_in_json_is_not_mistaken_for_the_twin() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        path = show.team_url("org_hanzo", "team_abc123.json")
        assert "text/html" in (await reader.get(path))[2]["Content-Type"]
        assert json.loads((await reader.get(path + ".json"))[1])["team"] == "team_abc123.json"

    visit(check, FakeWorker(WORLD, "agg-0"))


def test_the_statement_is_served_byte_for_byte() -> None:
    worker = FakeWorker(WORLD, "agg-0")

    async def check(reader: Reader, served: list[Served]) -> None:
        stated = worker.bill(A_BILL)
        texts = [(await reader.get(f"/bills/{json.loads(one)['id']}/statement"))[1].encode() for one in stated]
        assert texts == stated
        assert stated[-1] in (await reader.get(f"/bills/{json.loads(stated[-1])['id']}.json"))[1].encode()

    visit(check, worker)


def test_a_worker_that_stopped_is_named_and_its_rows_are_stale() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        before = await reader.json("/usage?limit=500")
        where = served[1].url.removeprefix("http://")
        await served[1].stop()
        served[0].view.world.now_ms += 2000
        after = await reader.json("/usage?limit=500")
        assert after["matching"] == before["matching"]
        assert {row["worker"] for row in after["hours"] if row["stale"]} == {"agg-1"}
        _, text, _ = await reader.get("/usage?limit=500")
        assert f"Worker <b>agg-1 at {where}</b> does not answer" in text
        _, text, _ = await reader.get("/usage?org=never-asked")
        assert f"Worker <b>agg-1 at {where}</b> does not answer" in text
        assert "missing here" in text
        assert (await reader.json("/"))["verdict"] == "stale"
        assert (await reader.json("/groups/billing-agg"))["silent"][0]["name"] == "agg-1"
        assert (await reader.get("/bills/evt_unknown"))[0] == 503
        served[0].view.owned = set(range(8))  # taken over
        served[0].view.world.now_ms += 2000
        assert not any(row["stale"] for row in (await reader.json("/usage?limit=500"))["hours"])
        assert (await reader.get("/bills/evt_unknown"))[0] == 404

    visit(check, *pair(World(hours_back=5)))


def test_a_frozen_worker_slows_one_page_not_every_page() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        release, arrived, asked = asyncio.Event(), asyncio.Event(), list[str]()

        async def hang(request: web.Request) -> web.Response:
            asked.append(request.path)
            arrived.set()
            await release.wait()
            return web.Response()

        app = web.Application()
        app.router.add_get("/{rest:.*}", hang)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        frozen = FakeWorker(WORLD, "frozen", (), f"http://127.0.0.1:{runner.addresses[0][1]}")
        served[0].view.others = [frozen]
        assert "no answer within 0.5 s" in (await reader.get("/"))[1]
        await asyncio.wait_for(arrived.wait(), 10)  # on a busy machine the page may be there first
        asked.clear()
        assert "no answer within 0.5 s" in (await reader.get("/usage"))[1]
        assert asked == [], "it rests: no page waits for it again"
        release.set()
        await runner.cleanup()

    visit(check, FakeWorker(WORLD, "agg-0"), timeout_s=0.5)


def test_first_paint_with_10_000_rows_behind_it() -> None:
    world = World(hours_back=420)
    worker = FakeWorker(world, "agg-0")
    rows = worker.hours()
    assert len(rows) > 10_000
    worker.hours = lambda: list(rows)  # type: ignore[method-assign]  # the contract: cheap to call

    async def check(reader: Reader, served: list[Served]) -> None:
        await reader.get("/")
        seconds = []
        for query in ("", "?sort=cost", "?sort=tokens&order=asc", "?team=team_c"):
            begun = process_time()
            status, text, _ = await reader.get("/usage" + query)
            seconds.append(process_time() - begun)
            assert status == 200
            assert text.count("<tr role") == 51
        assert sorted(seconds)[1] < 0.2

    visit(check, worker)


def test_raw_rows_page_through_all_workers() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        seen, path = [], "/tables/usage_hourly?limit=90"
        while path:
            page = await reader.json(path)
            seen += [(row["partition"], *row["key"]) for row in page["rows"]]
            path = page["next"]
        assert len(seen) == len(set(seen)) == len(WORLD.buckets)
        assert [row[0] for row in seen] == sorted(row[0] for row in seen)
        one = await reader.json("/tables/usage_hourly?partition=3&limit=500")
        assert {row["partition"] for row in one["rows"]} == {3}

    visit(check, *pair(WORLD))


def test_raw_rows_are_found_by_a_part_of_their_key() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        found, path = [], "/tables/usage_hourly?limit=7&find=TEAM_search"
        while path:
            page = await reader.json(path)
            found += [row["key"][3] for row in page["rows"]]
            path = page["next"]
        wanted = [bucket for bucket in WORLD.buckets if bucket.team == "team_search"]
        assert found == ["team_search"] * len(wanted)
        _, text, _ = await reader.get("/tables/usage_hourly?find=nobody")
        assert "No key matches" in text

    visit(check, *pair(WORLD))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nope", 404, "Start from the overview"),
        ("/bills/evt_none", 404, "in the ledger"),
        ("/teams/a/b", 404, "page of usage"),
        ("/tables/none", 404, "usage_hourly"),
        ("/tables/none/hours", 404, "usage_hourly"),
        ("/tables/usage_hourly/hours?hours=0", 400, "hours is a number"),
        ("/tables/usage_hourly/hours?hours=x", 400, "hours is a number"),
        ("/usage?sort=color", 400, "sort is one of"),
        ("/usage?hour=yesterday", 400, "2025-01-15T10:00"),
        ("/usage?hour=0001-01-01T00:00%2B23:00", 400, "hour"),
        ("/tables/usage_hourly?after=x", 400, "limit is a number"),
        ("/tables/usage_hourly?after=%5B%5D", 400, "limit is a number"),
        ("/static/none.js", 404, "overview"),
    ],
)
def test_what_is_not_there_says_what_to_do(path: str, status: int, words: str) -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        found, text, _ = await reader.get(path)
        assert found == status
        assert words in text
        found, text, _ = await reader.get(path, "application/json")
        assert found == status
        assert json.loads(text)["advice"]

    visit(check, FakeWorker(WORLD, "agg-0"))


def test_failures_are_pages_too() -> None:
    worker = FakeWorker(WORLD, "agg-0")

    def broken() -> Any:
        raise Unavailable("The local store is closed.")

    async def check(reader: Reader, served: list[Served]) -> None:
        worker.worker = broken  # type: ignore[method-assign]
        status, text, _ = await reader.get("/usage")
        assert status == 503
        assert "The local store is closed." in text
        worker.worker = lambda: 1 // 0  # type: ignore[method-assign,assignment,return-value]
        worker.world.now_ms += 2000
        assert (await reader.get("/"))[0] == 500
        async with reader.session.post(reader.base + "/usage") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    visit(check, worker)


def test_damaged_rows_are_said_and_those_of_the_other_workers_are_shown() -> None:
    whole, damaged = pair(World(hours_back=3))

    def broken(*asked: Any) -> Any:
        raise Damaged(Path("usage-7"), "Corruption: block checksum mismatch")

    damaged.rows = broken  # type: ignore[method-assign,assignment]

    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, _ = await reader.get("/tables/usage_hourly")
        assert status == 200
        where = served[1].url.removeprefix("http://")
        assert f"Worker <b>agg-1 at {where}</b> does not answer (it answered with status 503)" in text
        assert "its rows are missing here" in text
        assert text.count('data-key="') > 3
        reader.base = served[1].url
        status, text, _ = await reader.get("/tables/usage_hourly")
        assert status == 503
        assert "the rows in usage-7 are damaged and come back from the changelog" in text

    visit(check, whole, damaged)


class ByHour(FakeWorker):
    """A worker of a table of rows by key and hour."""

    def since(self, start_ms: int, limit: int) -> list[RowFacts]:
        hours = [hour for hour in (NOW_MS, NOW_MS - HOUR_MS, NOW_MS - 50 * HOUR_MS) if hour >= start_ms][:limit]
        names, counted = {"org_id": "org", "user_id": "<b>x"}, {"images": 3, "cost": "0.5", "sizes": {"1x1": 3}}
        revision = {NOW_MS: None}
        return [RowFacts(hour, names, counted, 2, 1, revision.get(hour, 1), "evt_1", 0) for hour in hours]


def test_rows_by_key_and_hour_are_shown_the_newest_first() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        twin = await reader.json("/tables/usage_hourly/hours")
        assert [(row["state"], row["counted"]["images"]) for row in twin["hours"]] == [("open", 3), ("pending", 3)]
        assert len((await reader.json("/tables/usage_hourly/hours?hours=60"))["hours"]) == 3
        _, text, _ = await reader.get("/tables/usage_hourly/hours")
        assert text.count('data-key="') == 2
        assert "&lt;b&gt;x" in text
        assert "evt_1, revision 1" in text

    visit(check, ByHour(WORLD, "agg-0", range(8)))


def test_an_empty_table_tells_how_to_send_the_first_event() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        for path in ("/", "/usage", "/tables"):
            assert "streamapp simulate --events 1000" in (await reader.get(path))[1]

    visit(check, FakeWorker(World(empty=True), "agg-0"))


def test_health_and_metrics() -> None:
    worker = FakeWorker(WORLD, "agg-0")

    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, _ = await reader.get("/health")
        assert (status, json.loads(text)["status"]) == (200, "ok")
        worker.taking = (2,)
        assert (await reader.json("/health"))["starting"] == [2]
        assert (await reader.get("/health/ready"))[0] == 503
        assert (await reader.get("/health/live"))[0] == 200
        worker.taking, worker.joined = (), False
        assert (await reader.json("/health"))["status"] == "starting"
        assert (await reader.get("/health/ready"))[0] == 503
        worker.joined, worker.changed = True, {2: {"high_water": 10**9, "last_commit_ms": WORLD.now_ms - 60_000}}
        status, text, _ = await reader.get("/health")
        assert (status, json.loads(text)["stuck"]) == (503, [2])
        assert "stream_events_total 1" in (await reader.get("/metrics"))[1]

    visit(check, worker)


def test_static_files_are_cached_for_ever_under_their_digest() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        _, text, _ = await reader.get("/")
        path = text.partition('<script src="')[2].partition('"')[0]
        status, _, headers = await reader.get(path)
        assert status == 200
        assert "immutable" in headers["Cache-Control"]
        assert (await reader.get("/static/app.js"))[2]["Cache-Control"] == "no-cache"
        assert (await reader.get("/static/app.js", **{"If-None-Match": headers["ETag"]}))[0] == 304
        assert (await reader.get("/static/..%2froutes.py"))[0] == 404

    visit(check, FakeWorker(WORLD, "agg-0"))


async def next_parts(stream: aiohttp.ClientResponse) -> dict[str, str]:
    """The next event's parts."""
    while line := await stream.content.readline():
        if line.startswith(b"data: "):
            parts: dict[str, str] = json.loads(line[6:])
            return parts
    raise AssertionError("the stream ended")


def test_live_updates_send_only_what_changed() -> None:
    world = World(hours_back=3)

    async def check(reader: Reader, served: list[Served]) -> None:
        async with reader.session.get(reader.base + "/live", params={"page": "/usage?team=team_abc"}) as stream:
            assert stream.content_type == "text/event-stream"
            assert set(await next_parts(stream)) == {
                *("live-notices", "live-states", "live-rows", "live-sums", "live-groups")
            }
            world.advance(30_000)  # longer than a rendering is good for, however busy the machine
            changed = await asyncio.wait_for(next_parts(stream), 10)
            assert set(changed) == {"live-rows", "live-sums"}
            assert "team_abc123" in changed["live-rows"]

    visit(check, FakeWorker(world, "agg-0"))


def test_parts_are_answered_once_and_not_again_while_they_are_the_same() -> None:
    world = World(hours_back=3)

    async def check(reader: Reader, served: list[Served]) -> None:
        url, asked = reader.base + "/live", {"page": "/usage?team=team_abc", "once": "1"}
        async with reader.session.get(url, params=asked) as answer:
            assert set(await answer.json()) == {
                *("live-notices", "live-states", "live-rows", "live-sums", "live-groups")
            }
            known = {"If-None-Match": answer.headers["ETag"]}
        async with reader.session.get(url, params=asked, headers=known) as same:
            assert (same.status, await same.read()) == (304, b"")
        world.advance(30_000)
        async with reader.session.get(url, params=asked, headers=known) as changed:
            assert changed.status == 200
        assert served[0].pages.live.clients == 0

    visit(check, FakeWorker(world, "agg-0"))


def test_a_page_is_never_taken_back_to_what_was_rendered_before_it_was_made() -> None:
    """A dear rendering is good for long: for pages that are not newer than it."""
    now_ms = 1_000
    renderings = 0

    async def slow(page: str) -> dict[str, str]:
        nonlocal renderings
        await asyncio.sleep(0.2)
        renderings += 1
        return {"live-rows": f"<p>{renderings}</p>"}

    async def run() -> None:
        nonlocal now_ms
        app = web.Application()
        app.router.add_get("/live", live.Live(slow, lambda: now_ms).serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/live"

        async def parts(since: str) -> str:
            async with session.get(url, params={"page": "/usage", "since": since, "once": "1"}) as answer:
                return str((await answer.json())["live-rows"])

        async with aiohttp.ClientSession() as session:
            assert await parts("1000") == "<p>1</p>"
            now_ms = 1_500
            for older in ("1000", "0", "", "None", "-1", "9" * 400):
                assert await parts(older) == "<p>1</p>"
            assert await parts("1001") == "<p>2</p>"
            assert await parts("1500") == await parts("999999") == "<p>2</p>"  # no page is made after now
        await runner.cleanup()

    asyncio.run(run())


def test_the_number_of_live_readers_is_bounded_and_shutdown_does_not_wait() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        url = reader.base + "/live"
        streams = [await reader.session.get(url) for _ in range(live.CLIENTS_MAX)]
        async with reader.session.get(url) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert (await reader.session.get(url, params={"page": "/nope"})).status in {404, 503}
        await asyncio.wait_for(served[0].stop(), 3)
        assert served[0].pages.live.clients == 0
        for stream in streams:
            stream.close()

    visit(check, FakeWorker(World(hours_back=1), "agg-0"))


def test_the_bare_list_of_routes_serves_too() -> None:
    async def run() -> None:
        app = web.Application()
        mount(app, FakeWorker(WORLD, "agg-0"), clock=WORLD.clock, peer_timeout_s=10, gate=OPEN)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            reader = Reader(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
            text = (await reader.get("/"))[1]
            assert "1 of 7 groups run on 1 worker;" in text
            assert "this worker does not ask Kafka" in text
        await runner.cleanup()

    asyncio.run(run())


def test_an_answer_that_is_no_answer_counts_as_silence() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        async def odd(request: web.Request) -> web.Response:
            return web.Response(text="<html>", headers={fleet.WORKER_HEADER: "odd%20one"})

        app = web.Application()
        app.router.add_get("/{rest:.*}", odd)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served[0].view.others = [FakeWorker(WORLD, "odd", (), f"http://127.0.0.1:{runner.addresses[0][1]}")]
        silent = (await reader.json("/groups/billing-agg"))["silent"]
        assert (silent[0]["name"], silent[0]["problem"]) == ("odd one", "its answer could not be read")
        await runner.cleanup()

    visit(check, FakeWorker(WORLD, "agg-0"))
