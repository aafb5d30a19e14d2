"""The pages of what was refused in a real browser: both colour schemes, wide and narrow, empty and full."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chromium import CHROMIUM
from letters_fake import NOW_MS, FakeLetters, letter
from playwright.async_api import Browser, expect
from test_pages import LOOKS, accessible, opened, overflow, shoot
from web_fake import FakeWorker, World, serving

from streamapp.dead_letters.done import Receipt

pytest_plugins = ("chromium",)

WORLD = World(hours_back=1)
WRONG = (
    b'{"schema":"hanzo.stream.v1","id":"evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V","type":"llm.usage.completed","source":'
    b'"llm-gateway","timestamp":"2025-01-17T10:30:00.123Z","team_id":"team_search","org_id":"org_acme","data":{"model":'
    b'"zen-72b","provider":"together","prompt_tokens":120,"completion_tokens":260,"total_tokens":99,"cost_usd":'
    b'0.003800000000000001,"user_email":"anna@example.com","api_key":"sk-live-abcdefghijklmnop"}}'
)


KINDS: tuple[dict[str, Any], ...] = (
    {"value": WRONG, "key": b"team_search"},
    {"reason": "wrong_partition", "error": "the key is not the team_id, or not where murmur2 puts it"},
    {
        "reason": "malformed_json",
        "error": "the value is not JSON: expecting value at character 0",
        "value": b"<html>502 Bad Gateway</html>",
        "headers": [("authorization", b"Bearer abcdefghijk"), ("trace", b"1f")],
    },
    {
        "topic": "events_plugin_ingestion",
        "partition": None,
        "offset": None,
        "group": None,
        "producer": "insights-capture",
        "reason": "missing_event_name",
        "error": "event is missing",
        "value": b'{"properties":{"$ip":"10.0.0.1"}}',
    },
)


def some() -> FakeLetters:
    """Dead letters of four causes, some of them dealt with."""
    letters = [letter(number, NOW_MS - (140 - number) * 61_000, **KINDS[number % 7 % 4]) for number in range(140)]
    receipts = [
        Receipt(one.id, "redriven", NOW_MS - 5000, one.record, ("llm_usage", 3, 4711 + number), 1, ("value",))
        for number, one in enumerate(letters[:40])
    ]
    receipts += [Receipt(letters[41].id, "dropped", NOW_MS - 3000, letters[41].record, reason="a test of the gateway")]
    return FakeLetters(letters, receipts, before=9_000)


def browse(letters: FakeLetters, check: Callable[[Browser, str], Awaitable[None]], world: World = WORLD) -> None:
    """Serve the pages and run `check` with a browser."""

    async def run() -> None:
        view = FakeWorker(world, "billing-agg-host-0")
        async with serving(view, letters=letters) as served, CHROMIUM.opened() as browser:
            await check(browser, served[0].url)

    CHROMIUM.run(run())


@LOOKS
def test_letters_fit_are_accessible_and_quiet(scheme: str, width: int) -> None:
    letters = some()
    pages = {
        "letters": "/letters",
        "letters-all": "/letters?state=all",
        "letters-none": "/letters?team=nobody",
        "letter": f"/letters/{letters.letters[133].id}",
        "letter-sent": f"/letters/{letters.letters[0].id}",
        "letter-broken": f"/letters/{letters.letters[135].id}",
    }

    async def check(browser: Browser, base: str) -> None:
        page, errors = await opened(browser, width, scheme)
        for name, path in pages.items():
            await page.goto(base + path)
            await expect(page.locator("#pulse")).to_have_text("Live")
            assert await overflow(page) <= 0, f"{name} is too wide"
            await accessible(page, f"{name} {scheme} {width}")
            await shoot(page, f"{name}-{scheme}-{width}")
        assert errors == []

    browse(letters, check)


def test_a_letter_that_arrives_appears_by_itself() -> None:
    letters, world = FakeLetters([]), World(hours_back=1)

    async def check(browser: Browser, base: str) -> None:
        page, _ = await opened(browser)
        await page.goto(base + "/letters")
        await expect(page.get_by_text("Nothing was refused in the last 30 days")).to_be_visible()
        assert await overflow(page) <= 0
        await accessible(page, "letters, empty")
        await shoot(page, "letters-empty-light-1280")
        letters.letters.append(letter())
        world.now_ms += 600_000  # a rendering may be kept for a while
        await page.locator("#live-letter-rows a").get_by_text("tokens_mismatch").click()
        await expect(page.get_by_role("heading", name="What to do")).to_be_visible()
        await expect(
            page.get_by_text(f"streamapp dead-letters redrive {letters.letters[0].id} --dry-run")
        ).to_be_visible()

    browse(letters, check, world)
