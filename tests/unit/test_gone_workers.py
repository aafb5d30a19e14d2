"""A worker that leaves its group stays named until an operator marks it as seen; versions and settings in force."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from test_web_pages import Reader
from web_fake import FakeAudit, FakeWorker, World, serving

from streamapp.errors import Unavailable
from streamapp.facts import GoneFacts, WorkerFacts
from streamapp.meters.members import GONE_MAX, Members
from streamapp.settings import KafkaSettings, Settings
from streamapp.settings_told import MASK, changed, is_own, rows
from streamapp.web.pages.front import changed_settings

A, B, C = "http://10.0.0.1:6066", "http://10.0.0.2:6066", "http://10.0.0.3:6066"


def owners(**given: set[int]) -> dict[str, frozenset[int]]:
    return {{"a": A, "b": B, "c": C}[name]: frozenset(numbers) for name, numbers in given.items()}


def test_who_leaves_is_known_with_what_became_of_its_partitions_until_it_is_back_or_seen() -> None:
    members = Members()
    members.are(owners(a={0, 1, 2, 3}), 1)
    members.are(owners(a={0, 1}, b={2, 3}), 2)
    assert members.gone() == ()
    members.are({}, 3)  # this worker is between two assignments
    members.are(owners(a={0, 1, 2}, c={3}), 4)
    assert members.gone() == (GoneFacts(B, 4, {2: A, 3: C}),)
    members.mark_seen(B, 3)  # of an earlier time that it left
    members.mark_seen(C, 9)
    assert [one.seen for one in members.gone()] == [False]
    members.mark_seen(B, 4)
    assert [one.seen for one in members.gone()] == [True]
    members.are(owners(a={0, 1}, b={2, 3}), 5)
    assert [(one.url, one.went_to) for one in members.gone()] == [(C, {3: B})]
    members.are(owners(a={0, 1, 2, 3}), 6)
    assert [(one.url, one.at_ms, one.seen) for one in members.gone()] == [(C, 5, False), (B, 6, False)]


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


class Remembering(FakeWorker):
    """A worker that knows who left, and how it runs."""

    gone: tuple[GoneFacts, ...] = ()
    runs: tuple[tuple[str, str], ...] = ()

    def worker(self) -> WorkerFacts:
        facts = super().worker()
        told = {name: getattr(facts, name) for name in WorkerFacts.__dataclass_fields__}
        return WorkerFacts(**{**told, "version": "1.2.3", "gone": self.gone})

    def settings(self) -> list[tuple[str, str]]:
        return list(self.runs)

    def mark_seen(self, url: str, at_ms: int) -> None:
        marked = (GoneFacts(one.url, one.at_ms, one.went_to, one.seen or one.url == url) for one in self.gone)
        self.gone = tuple(marked)


def test_the_pages_name_who_left_until_somebody_marks_it_as_seen() -> None:
    world, audit = World(hours_back=2, hostile=False), FakeAudit()
    one, other = Remembering(world, "one", range(4)), Remembering(world, "other", range(4, 8))
    one.gone = (GoneFacts(C, world.now_ms - 60_000, {4: A}),)
    other.gone = (GoneFacts(C, world.now_ms - 59_000, {4: A}), GoneFacts(B, world.now_ms, {5: ""}))
    one.runs, other.runs = (("STREAM_X", "1"),), (("STREAM_X", "2"), ("STREAM_Y", "3"))

    async def run() -> None:
        async with serving(one, other, audit=audit) as served, aiohttp.ClientSession() as session:
            reader = Reader(session, served[0].url)
            twin: Any = await reader.json("/groups/billing-agg")
            assert [(each["url"], each["seen"]) for each in twin["gone"]] == [(C, False), (B, False)]
            assert {each["version"] for each in twin["workers"]} == {"1.2.3"}
            assert {each["worker"]: each["changed"] for each in twin["settings"]} == {
                "one": {"STREAM_X": "1"},
                "other": {"STREAM_X": "2", "STREAM_Y": "3"},
            }
            text = (await reader.get("/groups/billing-agg"))[1]
            assert "10.0.0.3:6066 left at Jan 17, 10:41 UTC; its partitions went to 10.0.0.1:6066" in text
            assert "10.0.0.2:6066 left at Jan 17, 10:42 UTC; nobody has its partitions" in text
            assert "workers differ" in text
            front = (await reader.get("/"))[1]
            assert "Version 1.2.3." in front
            assert "10.0.0.3:6066 left at" in front
            await marks(session, served[0].url, audit)
            assert [each.gone[0].seen for each in (one, other)] == [True, True]
            world.now_ms += 2_000
            assert [each["url"] for each in (await reader.json("/groups/billing-agg"))["gone"]] == [B]
            await served[1].stop()
            world.now_ms += 2_000
            silent: Any = await reader.json("/groups/billing-agg")
            assert [each["worker"] for each in silent["settings"]] == ["one"]
            assert "workers differ" not in (await reader.get("/groups/billing-agg"))[1]

    asyncio.run(run())


async def marks(session: aiohttp.ClientSession, url: str, audit: FakeAudit) -> None:
    async def post(worker: str) -> int:
        form = {"do": "seen", "group": "billing-agg", "worker": worker}
        async with session.post(f"{url}/act", data=form, headers={"Origin": url}, allow_redirects=False) as answer:
            assert answer.status != 303 or answer.headers["Location"] == "/groups/billing-agg"
            return answer.status

    assert await post(A) == 404
    audit.failure = Unavailable("Kafka is away")
    assert await post(C) == 503
    audit.failure = None
    assert await post(C) == 303
    assert [(facts["action"], facts["worker"]) for _, facts in audit.written] == [("seen", C)]
