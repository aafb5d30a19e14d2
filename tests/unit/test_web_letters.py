"""The pages of what was refused: list, causes, one dead letter; masked, and honest about what they did not see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from letters_fake import NOW_MS, FakeLetters, letter
from web_fake import FakeWorker, World, serving

from streamapp.dead_letters.done import Receipt
from streamapp.dead_letters.read import Letter
from streamapp.errors import Misconfigured, Unavailable
from streamapp.schemas.judging.rejected import Reason
from streamapp.web.pages.refused.advice import ADVICE

WORLD = World(hours_back=1)
SECRET = b'{"team_id":"team_a","org_id":"org_a","password":"hunter2secret","mail":"anna@example.com"}'

Ask = Callable[..., Awaitable[tuple[int, str]]]


def visit(letters: FakeLetters, check: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve the pages over these dead letters; `check` asks for paths."""

    async def run() -> None:
        async with serving(FakeWorker(WORLD, "agg-0"), letters=letters) as served, aiohttp.ClientSession() as session:

            async def ask(path: str, accept: str = "text/html") -> tuple[int, str]:
                async with session.get(served[0].url + path, headers={"Accept": accept}) as answer:
                    return answer.status, await answer.text()

            await check(ask)

    asyncio.run(run())


def twin(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def many(count: int) -> list[Letter]:
    return [letter(number, NOW_MS + number * 1000) for number in range(count)]


def test_letters_stand_newest_first_and_page_by_page() -> None:
    async def check(ask: Ask) -> None:
        seen: list[str] = []
        path = "/letters"
        while path:
            status, text = await ask(path)
            assert status == 200
            assert "tokens_<wbr>mismatch" in text
            page = twin((await ask(path, "application/json"))[1])
            seen += [one["id"] for one in page["letters"]]
            path = page["next"]
        assert seen == [one.id for one in reversed(letters.letters)]
        assert len(seen) == page["matching"] == 120

    letters = FakeLetters(many(120))
    visit(letters, check)


def test_filters_causes_and_states() -> None:
    sent, dropped = letter(0), letter(1, reason="too_late", error="older than 14 days")
    waiting = [letter(number, error=f"data.total_tokens is {number}, not 15") for number in range(2, 5)]
    other = letter(9, topic="audit_log", group="audit-archive", reason="malformed_json", value=b"x", key=b"org_a")
    receipts = [
        Receipt(sent.id, "redriven", NOW_MS, sent.record, ("llm_usage", 3, 77), 1, ("value",)),
        Receipt(dropped.id, "dropped", NOW_MS, dropped.record, reason="billed by hand"),
    ]

    async def check(ask: Ask) -> None:
        async def ids(path: str) -> list[str]:
            return [one["id"] for one in twin((await ask(path, "application/json"))[1])["letters"]]

        page = twin((await ask("/letters.json"))[1])
        assert page["counts"] == {"waiting": 4, "redriven": 1, "dropped": 1}
        assert [(cause["reason"], cause["count"]) for cause in page["causes"]] == [
            ("tokens_mismatch", 3),
            ("malformed_json", 1),
        ]
        assert page["causes"][0]["shape"] == "data.total_tokens is …, not …"
        assert await ids(f"/letters?cause={page['causes'][0]['fingerprint']}") == [one.id for one in reversed(waiting)]
        assert await ids("/letters?state=redriven") == [sent.id]
        assert await ids("/letters?state=dropped") == [dropped.id]
        assert len(await ids("/letters?state=all")) == 6
        for query in ("topic=audit_log", "reason=malformed_json", "by=audit-archive", "team=org_a"):
            assert await ids(f"/letters?{query}") == [other.id], query
        assert "No dead letter matches" in (await ask("/letters?team=nobody"))[1]
        assert (await ask("/letters?state=lost"))[0] == 400
        assert "billed by hand" in (await ask(f"/letters/{dropped.id}"))[1]
        assert "llm_usage[3]@77" in (await ask(f"/letters/{sent.id}"))[1]

    visit(FakeLetters([sent, dropped, *waiting, other], receipts), check)


def test_one_letter_shows_all_but_secrets() -> None:
    one = letter(
        value=SECRET, error="bad mail of bert@example.com", headers=[("x-api-key", b"abc"), ("trace", b"\xff1")]
    )

    async def check(ask: Ask) -> None:
        for path in (f"/letters/{one.id}", f"/letters/{one.id}.json", "/letters", "/letters.json"):
            status, text = await ask(path)
            assert status == 200
            for secret in ("hunter2secret", "example.com", ">abc<", '"abc"'):
                assert secret not in text, (path, secret)
        text = (await ask(f"/letters/{one.id}"))[1]
        assert f"streamapp dead-letters redrive {one.id} --dry-run" in text
        assert 'href="/teams/org_a/team_a"' in text
        assert ADVICE["tokens_mismatch"] in text
        assert twin((await ask(f"/letters/{one.id}.json"))[1])["headers"][0] == {
            "key": "x-api-key",
            "value": "[masked]",
        }

    visit(FakeLetters([one]), check)


HOSTILE = '<script>alert("x")</script>\u202e'


def test_hostile_content_is_shown_as_text() -> None:
    one = letter(
        topic=HOSTILE, group=HOSTILE, reason=HOSTILE, error=HOSTILE, key=HOSTILE.encode(), value=HOSTILE.encode(),
        headers=[(HOSTILE, HOSTILE.encode())],
    )  # fmt: skip
    receipt = Receipt(one.id, "dropped", NOW_MS, one.record, reason=HOSTILE)

    async def check(ask: Ask) -> None:
        for path in (f"/letters/{one.id}", "/letters", "/letters?state=all&topic=%3Cscript%3E"):
            status, text = await ask(path)
            assert status == 200
            assert "<script>alert" not in text
            assert "\u202e" not in text

    visit(FakeLetters([one]), check)
    visit(FakeLetters([one], [receipt]), check)


@pytest.mark.parametrize("value", [None, b"", b"\xff\x00\xfe", b'{"a":"\\ud800"}', b"[" * 5000, b"x" * 200_000])
def test_any_bytes_have_a_page(value: bytes | None) -> None:
    one = letter(value=value, key=None)

    async def check(ask: Ask) -> None:
        assert (await ask(f"/letters/{one.id}"))[0] == 200
        assert (await ask(f"/letters/{one.id}.json"))[0] == 200

    visit(FakeLetters([one]), check)


def test_an_empty_list_says_what_it_means() -> None:
    async def empty(ask: Ask) -> None:
        assert "Nothing was refused in the last 30 days" in (await ask("/letters"))[1]
        status, text = await ask("/letters/evt_1")
        assert status == 404
        assert "streamapp dead-letters show evt_1" in text

    async def done(ask: Ask) -> None:
        assert "No dead letter is waiting" in (await ask("/letters"))[1]

    one = letter()
    visit(FakeLetters([]), empty)
    visit(FakeLetters([one], [Receipt(one.id, "dropped", NOW_MS)]), done)


def test_a_list_that_is_not_whole_says_so() -> None:
    letters = FakeLetters([letter()], before=900)
    letters.unreadable = 2

    async def check(ask: Ask) -> None:
        text = (await ask("/letters"))[1]
        assert "among the newest 1 dead letters" in text
        assert "2 records on" in text
        assert twin((await ask("/letters.json"))[1])["whole_log"] is False

    visit(letters, check)


@pytest.mark.parametrize(
    "failure", [Unavailable("Kafka does not answer"), Misconfigured("topic dead_letter is missing")]
)
def test_without_kafka_the_page_says_so(failure: Exception) -> None:
    letters = FakeLetters([])
    letters.failure = failure

    async def check(ask: Ask) -> None:
        for path in ("/letters", "/letters/evt_1"):
            status, text = await ask(path)
            assert status == 503
            assert str(failure) in text
            assert "Nothing is lost by it" in text

    visit(letters, check)


def test_a_letter_that_left_the_log_is_gone() -> None:
    one = letter()

    class Emptied(FakeLetters):
        async def whole(self, at: object) -> None:
            return None

    async def check(ask: Ask) -> None:
        status, text = await ask(f"/letters/{one.id}")
        assert status == 404
        assert "30 days" in text

    visit(Emptied([one]), check)


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == set(Reason)
