"""Every page of the registry with 100,000 rows behind it: it fits a wide and a narrow screen in both colour schemes, is
accessible, bounded and quick.

Each page is loaded once and then shown at each size and in each scheme. Screenshots are kept as in `test_pages`, beside
them how long each page took to its first paint.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

from acting_fake import FakeActing, MonitorWorker
from axe_playwright_python.async_playwright import Axe
from events_fake import behind_a_bill
from large_fake import LargeCalls, LargeLetters, LargeMetrics, LargeWorker, many
from playwright.async_api import Browser, Page, async_playwright
from test_pages import ARGS, SCREENSHOTS, SIZES, opened, overflow, shoot
from web_fake import Served, World, serving

from streamapp.web import show
from streamapp.web.sitemap import PAGES, canonical

NARROW, TALL_MAX = 390, 6_000  # pixels: fifty rows of a list, each of two lines, and what stands above them
PAINT_MAX_MS = 2_000  # on a busy machine; 200 is what a quiet one is to need, see docs/benchmarks.md


class Large:
    """What is behind the pages, and an address of each."""

    def __init__(self) -> None:
        world = World(hours_back=100, hostile=False)
        log, self.bill = behind_a_bill(world)
        self.log, self.letters, self.calls = many(log), LargeLetters(), LargeCalls()
        self.views = (
            LargeWorker(world, "billing-agg-host-0", self.log),
            self.calls,
            LargeMetrics(world, "llm-metrics", "llm-metrics-0", range(8)),
            MonitorWorker(world, "dead-letter-monitor", "monitor-0", range(1)),
        )

    def addresses(self) -> dict[str, str]:
        """aiohttp's pattern of a page → where it is."""
        letter, event = self.letters.letters[7].id, self.log.records[-1]
        settlement = show.settlement_url(self.calls.settlement_id)
        of_event = quote(f"{event.topic}[{event.partition}]@{event.offset}", safe="")
        return {
            "/": "/",
            "/groups/{group}": "/groups/billing-agg",
            "/charts": "/charts",
            "/usage": "/usage",
            "/orgs": "/orgs?org=org_acme",
            "/orgs/{org}": show.org_url("org_acme"),
            "/teams": "/teams?org=org_acme&team=team_search",
            "/teams/{org}/{team}": show.team_url("org_acme", "team_search"),
            "/budgets": "/budgets",
            "/budgets/{org}/{team}": show.budget_url("org_acme", "team_search"),
            "/agents": "/agents",
            "/agent": "/agent?org=org_a&agent=agent_a",
            "/agents/{org}/{agent}": show.agent_url("org_a", "agent_a"),
            "/settlements/{id}": settlement,
            "/settlements/{id}/calls": f"{settlement}/calls",
            "/bills/{id}": show.bill_url(self.bill),
            "/bills/{id}/calls": f"{show.bill_url(self.bill)}/calls",
            "/events": "/events",
            "/events/{id}": f"/events/{of_event}",
            "/search": "/search?q=team",
            "/incidents": "/incidents",
            "/letters": "/letters",
            "/letters/{id}": f"/letters/{letter}",
            "/letters/{id}/unmask": f"/letters/{letter}/unmask",
            "/act": f"/act?do=redrive&id={letter}",
            "/latency": "/latency",
            "/tables": "/tables",
            "/tables/{name}": "/tables/usage_hourly",
            "/tables/{name}/hours": "/tables/latency/hours?group=llm-metrics",
        }


def browse(made: Large, check: Callable[[Browser, list[Served]], Awaitable[None]]) -> None:
    """Serve everything and run `check` with a browser."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium: apt-get install chromium"

    async def run() -> None:
        outside: dict[str, Any] = {"letters": made.letters, "events": made.log, "acting": FakeActing(made.letters)}
        async with serving(*made.views, peer_timeout_s=10, **outside) as served, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=ARGS)
            try:
                await check(browser, served)
            finally:
                await browser.close()

    asyncio.run(run())


def test_every_page_with_100_000_rows_fits_is_accessible_bounded_and_quick() -> None:
    made, took, wrong = Large(), dict[str, float](), list[str]()
    assert {canonical(pattern) for pattern, _, _ in PAGES} == set(made.addresses())

    async def check(browser: Browser, served: list[Served]) -> None:
        page, errors = await opened(browser)
        for pattern, path in made.addresses().items():
            await page.set_viewport_size(SIZES[1280])
            took[pattern] = await painted(page, served[0].url + path)
            wrong.extend([one async for one in looked_at(page, path)])
        assert [error for error in errors if "status of 4" not in error] == []

    browse(made, check)
    (SCREENSHOTS / "first-paint.json").write_text(json.dumps(took, indent=1))
    assert wrong == []
    assert {pattern: ms for pattern, ms in took.items() if ms > PAINT_MAX_MS} == {}


async def looked_at(page: Page, path: str) -> AsyncIterator[str]:
    """What is wrong with a page that is open, at every size and in both schemes."""
    for width, size in SIZES.items():
        await page.set_viewport_size(size)
        if await overflow(page) > 0:
            yield f"{path} is wider than {width} pixels"
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            results = await Axe().run(page)
            if results.violations_count:
                yield f"{path} {scheme} {width}: {results.generate_report()}"
            await shoot(page, f"every{path.partition('?')[0].replace('/', '-')[:60]}-{scheme}-{width}")
    tall: int = await page.evaluate("document.documentElement.scrollHeight")
    if tall > TALL_MAX:
        yield f"{path} is {tall} pixels tall at {NARROW}"


async def painted(page: Page, url: str) -> float:
    """Open a page twice; milliseconds from the second request to its first paint. The first visit makes what a worker
    keeps for a second."""
    for _ in range(2):
        answer = await page.goto(url)
        assert answer is not None
        assert answer.status == 200, url
    await page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    took: float = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return round(took, 1)
