"""The pages that find events, what is done about dead letters from a page, and incidents."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
from acting_fake import FakeActing, MonitorWorker
from events_fake import FakeEventLog, TracingWorker, behind_a_bill
from letters_fake import FakeLetters, letter
from web_fake import FakeAudit, FakeWorker, World, serving

from streamapp.dead_letters.plan import Wanted
from streamapp.errors import Denied, Unavailable
from streamapp.events.listing import TAIL
from streamapp.kafka.log.reader import Record
from streamapp.web.sitemap import LISTS

Ask = Callable[..., Awaitable[tuple[int, str]]]
JSON = {"Accept": "application/json"}


def visit(check: Callable[[Ask], Awaitable[None]], *views: FakeWorker, **given: Any) -> None:
    async def run() -> None:
        async with serving(*views, **given) as served, aiohttp.ClientSession() as session:

            async def ask(path: str, form: Mapping[str, str] | None = None, **headers: str) -> tuple[int, str]:
                method = "GET" if form is None else "POST"
                url = served[0].url + path
                headers = headers or {"Origin": served[0].url}
                async with session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer:
                    return answer.status, await answer.text() if answer.status != 302 else answer.headers["Location"]

            await check(ask)

    asyncio.run(run())


def traced() -> tuple[World, FakeEventLog, str, TracingWorker]:
    world = World(hours_back=3, hostile=False)
    log, bill = behind_a_bill(world)
    return world, log, bill, TracingWorker(world, "agg-0", log)


def test_an_event_is_followed_to_its_bill_and_the_bill_to_its_calls() -> None:
    _, log, bill, worker = traced()

    async def check(ask: Ask) -> None:
        raw = (await ask(f"/bills/{bill}/calls.json"))[1]
        calls = json.loads(raw)
        assert "events" in calls, raw
        assert (calls["counted"], calls["whole"]) == (calls["events_stated"], True)
        assert [one["state"] for one in calls["events"]].count("duplicate") == calls["matching"] - calls["counted"] > 0
        status, text = await ask(f"/bills/{bill}/calls")
        assert (status, "equal to the last decimal" in text) == (200, True)
        first = calls["events"][0]
        for name in (first["id"], f"llm_usage[{first['partition']}]@{first['offset']}"):
            status, text = await ask(f"/events/{quote(name, safe='')}")
            assert status == 200, text
            assert bill in text
            assert "Counted in the hour from" in text
        twice = next(one for one in calls["events"] if one["state"] == "duplicate")
        both = json.loads((await ask(f"/events/{twice['id']}.json"))[1])["found"]
        assert [one["state"] for one in both] == ["billed", "duplicate"]

    visit(check, worker, letters=FakeLetters([]), events=log)


def test_what_is_nowhere_says_where_it_was_looked_for() -> None:
    _, log, _, worker = traced()

    async def check(ask: Ask) -> None:
        status, text = await ask("/events/request-4711")
        assert status == 404
        assert "was not found" in text
        assert "the id does not tell when it was made" in text
        assert "ids that billing-agg remembers" in text
        assert "rpc-billing remembers: no worker of it is known" in text
        assert (await ask("/events/nothing[0]@4"))[0] == 404
        assert (await ask(f"/events/{'x' * 300}"))[0] == 400

    visit(check, worker, letters=FakeLetters([]), events=log)


def test_without_the_right_to_read_there_is_one_quiet_word() -> None:
    _, log, bill, worker = traced()
    log.failure = Denied("user billing-aggregator lacks READ on topic llm_usage")

    async def check(ask: Ask) -> None:
        for path in (f"/bills/{bill}/calls", "/events", "/events/llm_usage[0]@4"):
            status, text = await ask(path)
            assert (status, "Not visible from this worker" in text) == (403, True), path
        status, text = await ask("/events/evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V")
        assert (status, "llm_usage: not visible to this Kafka user" in text) == (404, True)

    visit(check, worker, letters=FakeLetters([]), events=log)


def test_lists_and_the_search_box() -> None:
    world, log, bill, worker = traced()
    bucket = world.bills[bill]
    raw = b'{"id":"evt_a","team_id":"team_a","data":{"event":"signed_up","uuid":"019-7","distinct_id":"u"}}'
    log.records.append(Record("events_plugin_ingestion", 0, 0, world.now_ms, b"team_a", raw))

    async def check(ask: Ask) -> None:
        tail = json.loads((await ask("/events.json"))[1])
        assert len(tail["events"]) == TAIL == 100
        captured = (await ask("/events?topic=events_plugin_ingestion"))[1]
        first, second, beyond = [(await ask(path))[1] for path in ("/events", "/events?row=50", "/events?row=1000")]
        assert ["100 events found" in text for text in (first, second, beyond)] == [True] * 3
        assert ["Rows 51 to 100" in text for text in (first, second, beyond)] == [False, True, True]
        assert "Rows 1 to 50<" in first
        heads = [set(re.findall('data-label="(Call|Name|Cost)"', text)) for text in (first, captured)]
        assert heads == [{"Call", "Cost"}, {"Name"}]
        assert ["A duplicate of" in text for text in (first, captured)] == [True, False]
        assert 'rel="prev" href="/events">' in second, "no bare question mark"
        parts = json.loads((await ask("/live?page=/events&once=1"))[1])
        assert "What became of it" in parts["live-events"]
        arrived = [one["arrived_at"] for one in tail["events"]]
        assert arrived == sorted(arrived, reverse=True)
        assert (await ask("/events?from=2025-01-17T00:00"))[0] == 400
        assert (await ask("/events?team=x&from=yesterday"))[0] == 400
        assert (await ask("/events?topic=billing"))[0] == 400
        assert (await ask("/search?q=llm_usage[3]@5")) == (302, "/events/llm_usage%5B3%5D%405")
        assert (await ask(f"/search?q={bill}")) == (302, f"/bills/{bill}")
        status, where = await ask("/search?q=evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V")
        assert (status, where) == (302, "/events/evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V")
        status, text = await ask(f"/search?q={bucket.team[:-1]}")
        assert (status, f"/teams/{bucket.org}/{bucket.team}" in text) == (200, True)
        assert "Nothing was found" in (await ask("/search?q=%3Cscript%3E"))[1]
        assert (await ask("/search?q="))[0] == 200
        for path, listed in LISTS.items():
            assert await ask(path) == (302, listed), "an address that was cut"
            assert (await ask(listed))[0] != 404
            assert (await ask(f"{path}.json"))[0] == (503 if path == "/agent" else 404), "no worker of rpc-billing"
        for path in ("/bills", "/groups", "/settlements"):
            assert await ask(f"{path}?x=1") == (302, LISTS[path]), "no page has this address"
        assert (await ask("/orgs?org=nobody"))[0] == 404, "a name that no path can carry"

    visit(check, worker, letters=FakeLetters([]), events=log)


def test_an_operator_sees_the_plan_and_sends_again() -> None:
    letters = FakeLetters([letter(number) for number in range(3)])
    acting, audit, one = FakeActing(letters), FakeAudit(), letters.letters[1]

    async def check(ask: Ask) -> None:
        status, text = await ask(f"/act?do=redrive&id={one.id}")
        assert (status, "Send 1 record again" in text) == (200, True), text
        form = {"do": "redrive", "id": one.id, "step": "apply", "count": "1"}
        assert (await ask("/act", form, Origin="https://evil.test"))[0] == 403
        assert (await ask("/act", {**form, "count": "2"}))[0] == 409
        assert (await ask("/act", {**form, "patch": "[{]"}))[0] == 400
        assert acting.done == audit.written == []
        audit.failure = Unavailable("Kafka is away")
        assert (await ask("/act", form))[0] == 503
        assert acting.done == []
        audit.failure = None
        patch = '[{"op":"replace","path":"/data/total_tokens","value":16}]'
        status, text = await ask("/act", {**form, "patch": patch, "step": "plan"})
        assert (status, "value, partition changed" in text, acting.done) == (200, True, [])
        status, text = await ask("/act", {**form, "patch": patch})
        assert (status, "1 dead letter sent again." in text) == (200, True), text
        assert audit.written[0][1]["action"] == "redrive"
        assert audit.written[0][1]["dead_letter"] == one.id
        assert acting.done[0][1].ids == {one.id}
        acting.failure = Denied("user pages lacks WRITE on topic llm_usage")
        assert (await ask("/act", form))[0] == 403

    visit(check, FakeWorker(World(hours_back=1), "agg-0"), letters=letters, acting=acting, audit=audit)


def test_a_whole_cause_is_dropped_with_a_reason() -> None:
    letters = FakeLetters([letter(number) for number in range(3)])
    acting, audit, cause = FakeActing(letters), FakeAudit(), letters.letters[0].cause

    async def check(ask: Ask) -> None:
        assert "Drop 3 dead letters" in (await ask(f"/act?do=drop&cause={cause}"))[1]
        form = {"do": "drop", "cause": cause, "step": "apply", "count": "3"}
        assert (await ask("/act", form))[0] == 400, "no reason"
        status, text = await ask("/act", {**form, "because": "a load test of the gateway"})
        assert (status, "3 dead letters dropped." in text) == (200, True)
        assert acting.done == [("drop", Wanted(cause=cause, state="waiting"), "a load test of the gateway")]
        assert audit.written[0][1]["reason"] == "a load test of the gateway"
        for path in ("/act", "/act?do=shred&id=1", f"/act?id=1&cause={cause}"):
            assert (await ask(path))[0] == 400, path

    visit(check, FakeWorker(World(hours_back=1), "agg-0"), letters=letters, acting=acting, audit=audit)


def test_every_cause_and_every_time_can_be_reached() -> None:
    reasons = [f"reason_{chr(97 + number)}" for number in range(25)]
    letters = FakeLetters(
        [letter(number, 1_737_100_000_000 + number * 60_000, reason=one) for number, one in enumerate(reasons)]
    )

    async def check(ask: Ask) -> None:
        shown = [(await ask(f"/letters?team=team_a&causes={at}"))[1] for at in (0, 12, 24, 99, -1)]
        assert ["Causes 1–12 of 25" in text for text in shown] == [True, False, False, True, True]
        assert "Causes 25–25 of 25" in shown[2]
        found = json.loads((await ask("/letters.json?since=2025-01-17T07:50&until=2025-01-17T07:52"))[1])
        assert 0 < found["matching"] < 25
        assert (await ask("/letters?since=soon"))[0] == 400

    visit(check, FakeWorker(World(hours_back=1), "agg-0"), letters=letters)


def test_incidents_stand_on_their_page_and_in_the_verdict() -> None:
    world = World(hours_back=1)
    views = FakeWorker(world, "agg-0"), MonitorWorker(world, "dead-letter-monitor", "monitor-0", range(1))

    async def check(ask: Ask) -> None:
        for _ in range(100):
            status, text = await ask("/incidents")
            if status == 200:
                break
            world.now_ms += 5_000
            await asyncio.sleep(0.02)
        assert "tokens_<wbr>mismatch" in text
        assert "not yet: pagerduty" in text
        assert "Quiet again" in text
        assert "tokens_<wbr>mismatch" in json.loads((await ask("/live?page=/incidents&once=1"))[1])["live-incidents"]
        front = json.loads((await ask("/index.json"))[1])
        assert front["verdict"] != "ok"
        assert "1 incident is open; the newest is tokens_mismatch on llm_usage." in [
            one["text"] for one in front["findings"]
        ]

    visit(check, *views, letters=FakeLetters([]))
