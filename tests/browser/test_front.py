"""The front page with every group and its charts in a real browser: both colour schemes, wide and narrow, with and
without scripts, and live."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from chromium import CHROMIUM
from front_fake import Teller, everybody, told
from letters_fake import FakeLetters, letter
from playwright.async_api import Browser, Page, expect
from test_pages import LOOKS, PEER_TIMEOUT_S, SCREENSHOTS, WIDTHS, accessible, opened, overflow, shoot
from web_fake import FakeStandings, FakeWatch, Served, World, serving

from streamapp.watch.lag import Unread
from streamapp.watch.standing import Standing
from streamapp.web.pages.front.lags import Minute

pytest_plugins = ("chromium",)

Check = Callable[[Browser, list[Served], Teller], Awaitable[None]]
BEHIND = {("billing_events", number): Unread(4210, 90, 5400.0, 86_000.0) for number in range(4)}


def browse(check: Check, said: dict[str, Standing] | None = None) -> None:
    """Serve every group's workers and run `check` with a browser. `said` replaces Kafka's word of a group."""
    world = World(hours_back=48, hostile=False)
    views, teller, extra = everybody(world)
    first_ms = world.now_ms // 60_000 * 60_000 - 59 * 60_000
    hour = [Minute(first_ms + at * 60_000, at * at, at * 7.5, 1e6 - at * 60) for at in range(60)]
    watch = FakeWatch({view.group: hour for view in views})
    kafka, letters = FakeStandings(views), FakeLetters([letter(number) for number in range(12)])
    kafka.said = said or {}

    async def run() -> None:
        serve = serving(
            *views, letters=letters, standings=kafka, extra=extra, peer_timeout_s=PEER_TIMEOUT_S, watch=watch
        )
        async with serve as served, CHROMIUM.opened() as browser:
            clock = asyncio.create_task(tick(views[0].world))
            try:
                await check(browser, served, teller)
            finally:
                clock.cancel()

    CHROMIUM.run(run())


async def front(page: Page, served: list[Served]) -> None:
    """Open the page, and wait until it knows everybody: what is not known at the first look comes a second later."""
    await page.goto(served[0].url)
    await expect(page.get_by_text("on 13 workers")).to_be_visible()
    await expect(page.locator("#pulse")).to_have_text("Live")
    await expect(page.locator("[data-chart=latency] canvas").first).to_be_visible()


async def tick(world: World) -> None:
    """The workers' clock goes on, faster than ours: nothing that is kept stays for long."""
    while True:
        await asyncio.wait({asyncio.create_task(asyncio.sleep(0.25))})
        world.now_ms += 1500


@LOOKS
def test_the_front_page_fits_is_accessible_and_quiet(scheme: str, width: int) -> None:
    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        page, errors = await opened(browser, width, scheme)
        await front(page, served)
        await expect(page.get_by_role("heading", level=1)).to_have_text("Running, with warnings")
        await expect(page.locator("#live-verdict")).to_contain_text("12 dead letters wait for review.")
        await expect(page.locator(".groups tbody tr")).to_have_count(7)
        await page.get_by_text("The same as a table").click()
        await expect(page.locator(".minutes tbody tr")).to_have_count(60)
        await accessible(page, f"front {scheme} {width}")
        assert await overflow(page) <= 0
        hidden = "document.querySelector('.top nav').scrollWidth - document.querySelector('.top nav').clientWidth"
        assert await page.evaluate(hidden) <= 0, "every word of the head is there"
        await page.get_by_text("The same as a table").click()
        await shoot(page, f"whole-front-{scheme}-{width}", always=(scheme, width) == ("light", 1280))
        for path in ("/groups/rpc-billing", "/charts", "/latency", "/tables/accounts?group=rpc-billing"):
            await page.goto(served[0].url + path)
            await expect(page.locator("#pulse")).to_have_text("Live")
            if path.startswith("/groups/"):
                for name in ("lag", "age", "loss"):
                    await expect(page.locator(f"[data-chart={name}] canvas").first).to_be_visible()
            await accessible(page, f"{path} {scheme} {width}")
            assert await overflow(page) <= 0, path
            await shoot(page, f"whole{path.partition('?')[0].replace('/', '-')}-{scheme}-{width}")
        assert errors == []
        if (scheme, width) == ("light", 1280):
            (SCREENSHOTS / "whole-front-light-1280.png").rename(SCREENSHOTS / "docs-front.png")
            assert (SCREENSHOTS / "docs-front.png").stat().st_size < 300_000

    browse(check)


@WIDTHS
def test_groups_that_are_away_and_charts_that_are_old_are_designed(width: int) -> None:
    said = {
        "billing-ledger": Standing("no worker", behind=BEHIND),
        "rpc-billing": Standing("never started"),
        "analytics-ingest": Standing("rebalancing"),
    }

    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        page, _ = await opened(browser, width)
        await page.goto(served[0].url)
        await expect(page.locator("[data-chart=tokens] canvas").first).to_be_visible()
        for one in served:
            if one.view.group == "llm-metrics":
                await one.stop()
        await expect(page.locator("#live-charts .notice")).to_contain_text("No worker of llm-metrics answers")
        await expect(page.locator("#live-verdict")).to_contain_text("No worker runs; 16,840 records wait.")
        await expect(page.locator("[data-key=rpc-billing]")).to_contain_text("never started")
        await expect(page.locator("[data-key=analytics-ingest]")).to_contain_text("rebalancing")
        await expect(page.locator("[data-key=llm-metrics]")).to_contain_text("silent")
        await accessible(page, f"front in trouble {width}")
        assert await overflow(page) <= 0
        await shoot(page, f"whole-trouble-light-{width}")
        await page.goto(served[0].url + "/groups/billing-ledger")
        await expect(page.get_by_text("streamapp.agents.billing_ledger")).to_be_visible()
        await accessible(page, f"group without a worker {width}")
        assert await overflow(page) <= 0
        await shoot(page, f"whole-group-gone-light-{width}")

    browse(check, said)


def test_charts_grow_live_and_are_not_drawn_anew() -> None:
    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        page, errors = await opened(browser)
        await front(page, served)
        canvas = page.locator("[data-chart=tokens] canvas").first
        await canvas.evaluate("node => { node.mine = true; }")
        figure = page.locator("[data-chart=tokens]")
        before = await figure.get_attribute("data-points")
        grown = told(served[0].view.world.now_ms)
        grown["minutes"][-1]["total_tokens"] += 777_777
        teller.said = grown
        await expect(figure).not_to_have_attribute("data-points", before or "")
        await expect(figure.locator(".headline")).to_contain_text("14.")
        assert await canvas.evaluate("node => node.mine === true"), "the chart was replaced, not changed"
        box = await figure.locator(".canvas").bounding_box()
        assert box
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await expect(figure.locator(".key.prompt")).to_have_attribute("data-value", re.compile(r"^\d+k$"))
        assert errors == []

    browse(check)


def test_without_scripts_the_charts_are_pictures_and_a_table() -> None:
    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        page, errors = await opened(browser, scripts=False)
        for _ in range(20):
            await page.goto(served[0].url)
            if await page.locator("svg.fallback").count() and await page.get_by_text("on 13 workers").count():
                break
            await page.wait_for_timeout(300)
        await expect(page.locator("svg.fallback")).to_have_count(3)
        await expect(page.locator("svg.fallback").first).to_be_visible()
        await page.get_by_text("The same as a table").click()
        await expect(page.locator(".minutes tbody tr").first).to_be_visible()
        await shoot(page, "whole-without-scripts")
        await page.get_by_role("link", name="rpc-billing").click()
        await page.get_by_role("link", name="accounts").click()
        await expect(page.locator("tbody tr")).to_have_count(8)
        assert errors == []

    browse(check)


HELD = "navigator.locks.query().then((found) => found.held.length)"


def test_seven_visible_pages_of_one_worker_all_load_and_go_on() -> None:
    """A browser has six connections to a host: three of the pages have a stream, the others ask again and again."""

    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        context = await browser.new_context()
        pages = [await context.new_page() for _ in range(7)]
        for page in pages:
            await page.goto(served[0].url)
            await expect(page.locator("#pulse")).to_have_text("Live")
        assert await pages[0].evaluate(HELD) == 3
        await pages[0].close()
        await pages[1].goto("about:blank")
        await go_on(pages[2:])
        assert await pages[2].evaluate(HELD) == 3

    browse(check)


def test_pages_without_locks_ask_again_and_go_on() -> None:
    """Browsers keep locks on secure origins only."""

    async def check(browser: Browser, served: list[Served], teller: Teller) -> None:
        context = await browser.new_context()
        await context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })")
        pages = [await context.new_page() for _ in range(2)]
        for page in pages:
            await page.goto(served[0].url)
            await expect(page.locator("#pulse")).to_have_text("Live")
        await go_on(pages)

    browse(check)


async def go_on(pages: list[Page]) -> None:
    """Each shows something else than before, twice: what it saw first may have been on its way."""
    for _ in range(2):
        shown = [await page.locator("#main").inner_html() for page in pages]
        for page, before in zip(pages, shown, strict=True):
            await page.wait_for_function("(before) => document.getElementById('main').innerHTML !== before", arg=before)
