"""A worker that leaves its group stays named until an operator marks it as seen; versions and settings in force."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from front_fake import Remembering
from gates import credentials, settings
from test_web_gate import Asked
from test_web_pages import Reader
from web_fake import FakeAudit, FakeWorker, World, serving
from yarl import URL

from streamapp.errors import Unavailable
from streamapp.facts.worker import GoneFacts
from streamapp.meters.members import GONE_MAX, Members
from streamapp.settings import KafkaSettings, Settings
from streamapp.settings.told import MASK, changed, is_own, rows
from streamapp.web.entry.gate import gate
from streamapp.web.pages.front.front import changed_settings
from streamapp.web.workers.gone import text

A, B, C, D = (f"http://10.0.0.{number}:6066" for number in (1, 2, 3, 4))


def owners(**given: set[int]) -> dict[str, frozenset[int]]:
    return {{"a": A, "b": B, "c": C}[name]: frozenset(numbers) for name, numbers in given.items()}


def test_who_leaves_is_known_with_what_became_of_its_partitions_until_it_is_back_or_seen() -> None:
    members = Members()
    members.are(owners(a={0, 1, 2, 3}), 1)
    members.are(owners(a={0, 1}, b={2, 3}), 2)
    assert members.gone() == ()
    members.are({}, 3)  # this worker is between two assignments
    members.are(owners(a={0, 1, 2}, c={3}), 4)
    assert members.gone() == (GoneFacts(B, 4, {2: A, 3: C}, replaced=True),)
    members.mark_seen(B, 3)  # of an earlier time that it left
    members.mark_seen(C, 9)
    assert [one.seen for one in members.gone()] == [False]
    members.mark_seen(B, 4)
    assert [one.seen for one in members.gone()] == [True]
    members.are(owners(a={0, 1}, b={2, 3}), 5)
    assert [(one.url, one.went_to) for one in members.gone()] == [(C, {3: B})]
    members.are(owners(a={0, 1, 2, 3}), 6)
    assert [(one.url, one.at_ms, one.seen) for one in members.gone()] == [(C, 5, False), (B, 6, False)]


def test_a_rollout_is_no_loss_and_a_loss_that_nobody_makes_good_is_one() -> None:
    """Each pod comes back at another address."""
    members = Members()

    def unmade(now_ms: int, **given: set[int]) -> list[str]:
        members.are(owners(**given), now_ms)
        return [one.url for one in members.gone() if not one.replaced]

    assert unmade(1, a={0, 1}, b={2, 3}) == []
    assert unmade(2, a={0, 1, 2, 3}) == [B]
    assert unmade(3, a={0, 1, 2}, c=set()) == [B], "nobody has partition 3"
    assert unmade(4, a={0, 1}, c={2, 3}) == []
    assert unmade(5, a={0, 1, 2, 3}) == [C], "what was made good stays so"
    assert unmade(6, c={0, 1, 2, 3}) == [], "another came as it left"
    assert unmade(7, c={0, 1}, b={2, 3}) == []
    assert [one.url for one in members.gone()] == [A]


def test_at_most_so_many_are_remembered() -> None:
    members = Members()
    for number in range(GONE_MAX + 5):
        members.are({A: frozenset({0}), f"http://h{number}": frozenset({1})}, number)
    assert len(members.gone()) == GONE_MAX
    assert members.gone()[-1].url == f"http://h{GONE_MAX + 3}"


def test_settings_that_differ_are_told_and_secrets_are_not() -> None:
    kafka = KafkaSettings(bootstrap_servers="k1:9093", sasl_password="hunter2-hunter2")
    told = dict(changed(Settings(kafka=kafka)))
    assert told["STREAM_KAFKA__BOOTSTRAP_SERVERS"] == "k1:9093"
    assert told["STREAM_KAFKA__SASL_PASSWORD"] == "••••••"
    assert "hunter2" not in json.dumps(told)
    assert "STREAM_BILLING__GRACE_SECONDS" not in told
    urls = {
        "postgresql://db/x?user=u&password=hush": "postgresql://db/x?••••••",
        "http://ch:8123/?user=a&password=hush": "http://ch:8123/?••••••",
        "https://hush@h/x": "https://••••••@h/x",
        "postgresql://u:p@hush@db/x": "postgresql://••••••@db/x",
        "postgresql://u:a/hush@db/x": "postgresql://••••••@db/x",
        "postgresql://u:a?hush@db/x": "postgresql://••••••",
        "postgresql://u:a#hush@db/x": "postgresql://••••••",
        "http://h/?password=p@hush": "http://••••••",
        "https://h/x#hush": "https://h/x#••••••",
        "http://a,http://u:hush@b": "http://••••••",
        "u:hush@a,http://b": "••••••",
        "sqlite:///bills.db": "sqlite:///bills.db",
        "http://ch:8123": "http://ch:8123",
    }
    for url, shown in urls.items():
        assert dict(changed(Settings(ledger_url=url)))["STREAM_LEDGER_URL"] == shown


def test_workers_differ_only_in_what_they_should_have_in_common() -> None:
    one = [("STREAM_WEB__HOST", "a"), ("STREAM_STATE_DIR", "/1"), ("STREAM_LEDGER_URL", "x"), ("STREAM_WEB__ROLES", "")]
    other = [("STREAM_WEB__HOST", "b"), ("STREAM_WEB__MONITOR_PORT", "1"), ("STREAM_KAFKA__SASL_PASSWORD", MASK)]
    third = [*other, ("STREAM_LEDGER_URL", "x")]
    found = {each.variable: (each.values, each.differs) for each in changed_settings([one, other, third])}
    assert found == {
        "STREAM_WEB__HOST": (("a", "b"), False),
        "STREAM_STATE_DIR": (("/1", None), False),
        "STREAM_LEDGER_URL": (("x", None), True),
        "STREAM_WEB__ROLES": (("", None), True),
        "STREAM_WEB__MONITOR_PORT": (("1", None), False),
        "STREAM_KAFKA__SASL_PASSWORD": ((MASK, None), True),
    }
    assert [each.differs for each in changed_settings([other, other])] == [False] * 3
    own = {row.variable for row in rows(Settings()) if is_own(row.variable)}
    assert {"STREAM_WEB__MONITOR_HOST", "STREAM_WEB__PORT", "STREAM_CACHE_DIR", "STREAM_BROKER__DIR"} < own
    assert not own & {"STREAM_DIRECTORY", "STREAM_KAFKA__BOOTSTRAP_SERVERS", "STREAM_WATCH__URL"}


def test_the_pages_name_who_left_until_somebody_marks_it_as_seen() -> None:
    world, audit = World(hours_back=2, hostile=False), FakeAudit()
    one, other = Remembering(world, "one", range(4)), Remembering(world, "other", range(4, 8))
    one.gone = (GoneFacts(C, world.now_ms - 60_000, {4: A}),)
    other.gone = (GoneFacts(C, world.now_ms - 59_000, {4: A}), GoneFacts(B, world.now_ms, {5: ""}))
    other.gone += (GoneFacts(D, world.now_ms, {6: A}, replaced=True),)
    one.runs, other.runs = (("STREAM_X", "1"),), (("STREAM_X", "2"), ("STREAM_Y", "3"))

    async def run() -> None:
        async with serving(one, other, audit=audit) as served, aiohttp.ClientSession() as session:
            reader = Reader(session, served[0].url)
            twin: Any = await reader.json("/groups/billing-agg")
            assert [(each["url"], each["seen"]) for each in twin["gone"]] == [(C, False), (B, False), (D, False)]
            assert {each["version"] for each in twin["workers"]} == {"1.2.3"}
            assert {each["worker"]: each["changed"] for each in twin["settings"]} == {
                "one": {"STREAM_X": "1"},
                "other": {"STREAM_X": "2", "STREAM_Y": "3"},
            }
            text = (await reader.get("/groups/billing-agg"))[1]
            assert "10.0.0.3:6066 left on Jan 17, 10:41 UTC; its partitions went to 10.0.0.1:6066" in text
            assert "10.0.0.2:6066 left on Jan 17, 10:42 UTC; nobody has its partitions" in text
            assert "workers differ" in text
            front = (await reader.get("/"))[1]
            assert "Version 1.2.3." in front
            assert "10.0.0.3:6066 left on" in front
            assert ("10.0.0.4:6066 left on" in front, "10.0.0.4:6066 left on" in text) == (False, True), "replaced"
            one.forgets = other.forgets = True
            assert await posted(session, served[0].url, C) == 503, "nobody took it"
            one.forgets = other.forgets = False
            audit.written.clear()
            await marks(session, served[0].url, audit)
            assert [each.gone[0].seen for each in (one, other)] == [True, True]
            assert [each["url"] for each in (await reader.json("/groups/billing-agg"))["gone"]] == [B, D]
            await served[1].stop()
            world.now_ms += 2_000
            silent: Any = await reader.json("/groups/billing-agg")
            assert [each["worker"] for each in silent["settings"]] == ["one"]
            assert "workers differ" not in (await reader.get("/groups/billing-agg"))[1]

    asyncio.run(run())


def test_many_that_left_are_one_sentence_and_are_marked_at_once() -> None:
    world, audit = World(hours_back=2, hostile=False), FakeAudit()
    one = Remembering(world, "one")
    one.gone = tuple(GoneFacts(f"http://10.0.0.{n}:6066", world.now_ms, {n: A} if n < 9 else {}) for n in range(5, 10))

    async def run() -> None:
        async with serving(one, audit=audit) as served, aiohttp.ClientSession() as session:
            reader = Reader(session, served[0].url)
            front = (await reader.get("/"))[1]
            named = "10.0.0.5:6066, 10.0.0.6:6066, 10.0.0.7:6066 and 2 more"
            assert f"5 workers ({named}) left on Jan 17, 10:42 UTC; their partitions went to 10.0.0.1:6066." in front
            assert front.count("left on") == 1
            page = (await reader.get("/groups/billing-agg"))[1]
            assert "Mark all as seen" in page
            shown = dict(re.findall(r'name="(all|at_ms)" value="(\d+)"', page))
            assert shown == {"all": "1", "at_ms": str(world.now_ms)}
            for unclear in ({}, {"worker": ""}, {"at_ms": shown["at_ms"]}):
                assert (await answered(session, served[0].url, **unclear))[0] == 404, "nobody is named"
            for moment in ({}, {"at_ms": ""}, {"at_ms": "now"}):
                assert (await answered(session, served[0].url, all="1", **moment))[0] == 400
            assert audit.written == []
            one.gone += (GoneFacts(C, world.now_ms + 1, {9: A}),)  # after the page was made
            status, twin = await answered(session, served[0].url, **shown)
            assert (status, twin["workers"]) == (303, [each.url for each in one.gone[:-1]])
            assert [facts["worker"] for _, facts in audit.written] == twin["workers"]
            assert [each.seen for each in one.gone] == [True] * 5 + [False]
            assert (await answered(session, served[0].url, **shown))[0] == 404, "all are marked"

    asyncio.run(run())


def test_what_could_not_be_marked_is_told_and_the_others_are_marked() -> None:
    world, audit = World(hours_back=1, hostile=False), FakeAudit()
    one = Remembering(world, "one")
    one.gone = tuple(GoneFacts(url, world.now_ms, {4: A}) for url in (A, B, C, D))
    one.forgotten = (B, C)

    async def run() -> None:
        async with serving(one, audit=audit) as served, aiohttp.ClientSession() as session:
            reader, url = Reader(session, served[0].url), served[0].url
            assert len(await gone(reader)) == 4
            status, twin = await answered(session, url, all="1", at_ms=str(world.now_ms))
            assert (status, twin["error"]) == (503, "2 of 4 are marked as seen")
            assert twin["advice"] == (
                "Not 10.0.0.2:6066, 10.0.0.3:6066: No worker of billing-agg that remembers it answers."
            )
            assert await gone(reader) == [B, C], "the page is made anew"
            audit.failure = Unavailable("Kafka is away")
            status, twin = await answered(session, url, worker=B)
            assert (status, twin["error"]) == (503, "It is not marked as seen")
            assert twin["advice"] == "The act cannot be kept in audit_log: Kafka is away."

    asyncio.run(run())


@pytest.mark.parametrize(
    ("before_ms", "when"),
    [
        (0, "left on Jan 17, 10:42 UTC"),
        (600_000, "left on Jan 17, between 10:32 and 10:42 UTC"),
        (86_400_000, "left between Jan 16, 10:42 and Jan 17, 10:42 UTC"),
    ],
)
def test_many_that_left_are_told_with_the_first_and_the_last_moment(before_ms: int, when: str) -> None:
    now_ms = World(hours_back=1, hostile=False).now_ms
    left = [GoneFacts(B, now_ms - before_ms, {4: A}), GoneFacts(C, now_ms - before_ms // 2, {5: A})]
    assert when in text(*left, GoneFacts(D, now_ms, {6: A}))


async def gone(reader: Reader) -> list[str]:
    twin: Any = await reader.json("/groups/billing-agg")
    return [each["url"] for each in twin["gone"]]


async def answered(session: aiohttp.ClientSession, url: str, **form: str) -> tuple[int, Any]:
    """The status and the twin of an act."""
    asked = {"do": "seen", "group": "billing-agg", **form}
    headers = {"Origin": url, "Accept": "application/json"}
    async with session.post(f"{url}/act", data=asked, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.json()


async def posted(session: aiohttp.ClientSession, url: str, worker: str, **headers: str) -> int:
    form, headers = {"do": "seen", "group": "billing-agg", "worker": worker}, headers or {"Origin": url}
    async with session.post(f"{url}/act", data=form, headers=headers, allow_redirects=False) as answer:
        assert answer.status != 303 or answer.headers["Location"] == "/groups/billing-agg"
        return answer.status


async def marks(session: aiohttp.ClientSession, url: str, audit: FakeAudit) -> None:
    post = partial(posted, session, url)
    assert await post(A) == 404
    assert await post(C, Accept="text/html") == 403, "no Origin"
    assert await post(C, Origin="https://evil.test") == 403
    for embedded in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}):
        question = f"{url}/_local/seen?url={quote(C, safe='')}&at={10**15}"
        async with session.get(question, headers=embedded) as answer:
            assert answer.status == 403, "any page may embed it"
    audit.failure = Unavailable("Kafka is away")
    assert await post(C) == 503
    audit.failure = None
    assert await post(C) == 303
    assert [(facts["action"], facts["worker"]) for _, facts in audit.written] == [("seen", C)]


def test_whoever_may_only_look_marks_nobody(tmp_path: Path) -> None:
    world, audit = World(hours_back=1, hostile=False), FakeAudit()
    one = Remembering(world, "one")
    one.gone = (GoneFacts(C, world.now_ms, {4: A}),)
    door = gate(settings(tmp_path, "token"), "0.0.0.0", world.clock)

    async def run() -> list[int]:
        async with serving(one, gate=door, audit=audit) as served, aiohttp.ClientSession() as session:
            url = served[0].url
            found = [await posted(session, url, C, **credentials("token", "viewer"), Origin=url)]
            question = f"/_local/seen?url={quote(C, safe='')}&at={world.now_ms}"
            for seal in (credentials("token", "operator"), Asked(world.now_ms).seal(question, "viewer")):
                async with session.get(URL(url + question, encoded=True), headers=seal) as answer:
                    found.append(answer.status)
            return found

    assert asyncio.run(run()) == [403, 403, 403]
    assert [each.seen for each in one.gone] == [False]
    assert audit.written == []


def test_a_worker_of_another_group_serves_the_page_that_the_act_has_changed() -> None:
    world, audit = World(hours_back=1, hostile=False), FakeAudit()
    here, there = FakeWorker(world, "here", range(1)), Remembering(world, "there")
    here.group, there.gone = "llm-metrics", (GoneFacts(C, world.now_ms, {4: A}),)

    async def run() -> None:
        async with serving(here, there, audit=audit) as served, aiohttp.ClientSession() as session:
            reader = Reader(session, served[0].url)
            for _ in range(100):
                if await gone(reader) == [C]:
                    break
                world.now_ms += 1_000  # no page waits long for another group: what was not heard is asked for again
            assert await gone(reader) == [C]
            assert await posted(session, served[0].url, C) == 303
            assert [each.seen for each in there.gone] == [True]
            twin: Any = await reader.json("/groups/billing-agg")
            assert (twin["gone"], [each["name"] for each in twin["workers"]]) == ([], ["there"])

    asyncio.run(run())
