"""The pages in a real browser: both colour schemes, wide and narrow, with and without scripts, and live.

`make test-all` keeps screenshots of every page under build/screenshots/. Without Chromium these tests fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from chromium import CHROMIUM
from playwright.async_api import Browser, Page, ViewportSize, expect
from searches import is_long
from web_fake import Bucket, FakeWorker, Served, World, serving

from streamapp.web import show

pytest_plugins = ("chromium",)

expect.set_options(timeout=60_000)  # ms; a page is refreshed the less often the longer it takes to make

PROJECT = Path(__file__).parent.parent.parent
SCREENSHOTS = PROJECT / "build" / "screenshots"
VARIANTS = {
    "group-never": "/groups/rpc-billing",
    "charts-never": "/charts",
    "hours-filtered": "/usage?org=hanzo&state=revised&sort=cost&order=desc",
    "hours-none": "/usage?org=nobody",
    "usage-teams": "/usage?by=team&month=2025-01&compare=month",
    "usage-hour": "/usage?hour=2025-01-16T10:00&compare=day&by=team",
    "usage-models": "/usage?by=model&org=hanzo&compare=day",
    "team-hostile": show.team_url("org_<b>x</b>", '<script>alert("x")</script>'),
    "missing": "/nothing/here",
    "refused": "/usage?sort=color",
}
"""Pages otherwise than `test_every_page` has them, and a statement that was replaced."""
SIZES = {1280: ViewportSize(width=1280, height=900), 390: ViewportSize(width=390, height=844)}
LOOKS = pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        *(pytest.param(*look, marks=pytest.mark.long) for look in (("dark", 1280), ("light", 390), ("dark", 390))),
    ],
)
"""One in `make test`: `test_every_page.py` has every page dark and narrow. Every pair in `make test-all`."""
WIDTHS = pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.long)])

PEER_TIMEOUT_S = 10  # a worker of these tests that is away refuses at once; nobody is to be missing for being slow

Check = Callable[[Browser, list[Served]], Awaitable[None]]


@cache
def world() -> World:
    return World(hours_back=400)


@cache
def a_bill() -> Bucket:
    """An hour that was stated three times."""
    found = world().bills.values()
    return next(one for one in found if world().revisions(one) == 3 and "team_" in one.team)


def browse(check: Check, *views: FakeWorker) -> None:
    """Serve the views and run `check` with a browser."""

    async def run() -> None:
        async with serving(*views, peer_timeout_s=PEER_TIMEOUT_S) as served, CHROMIUM.opened() as browser:
            await check(browser, served)

    CHROMIUM.run(run())


def pair(world: World) -> tuple[FakeWorker, FakeWorker]:
    return FakeWorker(world, "billing-agg-host-0", range(4)), FakeWorker(world, "billing-agg-host-1", range(4, 8))


async def opened(
    browser: Browser, width: int = 1280, scheme: str = "light", scripts: bool = True
) -> tuple[Page, list[str]]:
    """A page, and the list its console errors go to."""
    context = await browser.new_context(
        viewport=SIZES[width],
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(60_000)
    page = await context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page, errors


async def shoot(page: Page, name: str, always: bool = False) -> None:
    """A picture for people to look at. `make test-all` takes all of them, `make test` those of the documentation."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    if always or is_long():
        await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def overflow(page: Page) -> int:
    """How many pixels the page is wider than the window."""
    width: int = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return width


AXE = """async whole => {
    const look = node => [node.tagName, node.className, node.hidden, node.textContent.trim() === ""];
    const alike = [];
    for (const table of document.querySelectorAll("table")) {
        const seen = new Set();
        for (const row of table.querySelectorAll("tbody > tr")) {
            const shape = row.parentNode.className + [row, ...row.querySelectorAll("*")].map(look).join();
            seen.has(shape) ? alike.push(row) : seen.add(shape);
        }
    }
    const told = { resultTypes: ["violations"] };
    const run = async (where, options) => (await axe.run(where, { ...told, ...options })).violations;
    if (whole) return { violations: await run(document, {}) };
    const rest = await run(document, { rules: { "color-contrast": { enabled: false } } });
    return { violations: [...rest, ...await run({ exclude: alike }, { runOnly: ["color-contrast"] })] };
}"""
"""Contrasts take axe more time than all else: not `whole`, it looks at one of the rows of a table that are alike."""


async def violations(page: Page) -> str:
    """What axe finds wrong with a page; nothing else of what it says leaves the browser."""
    await page.evaluate(AXE_SCRIPT)
    results = AxeResults(await page.evaluate(AXE, is_long()))
    return str(results.generate_report()) if results.violations_count else ""


async def accessible(page: Page, where: str) -> None:
    assert await violations(page) == "", where


@LOOKS
def test_variants_of_pages_fit_are_accessible_and_quiet(scheme: str, width: int) -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        page, errors = await opened(browser, width, scheme)
        for name, path in {**VARIANTS, "bill-superseded": f"/bills/{a_bill().bill_id(0)}"}.items():
            await page.goto(served[0].url + path)
            if name not in {"missing", "refused"}:
                await expect(page.locator("#pulse")).to_have_text("Live")
            assert await overflow(page) <= 0, f"{name} is too wide"
            await accessible(page, f"{name} {scheme} {width}")
            await shoot(page, f"{name}-{scheme}-{width}")
        unexpected = [error for error in errors if "status of 40" not in error]  # the browser notes 404 and 400 itself
        assert unexpected == []

    browse(check, *pair(world()))


@WIDTHS
def test_empty_failing_and_stale_states_are_designed(width: int) -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        page, _ = await opened(browser, width)
        for name, path in {"empty-front": "/", "empty-hours": "/usage", "empty-tables": "/tables"}.items():
            await page.goto(served[0].url + path)
            await expect(page.get_by_text("streamapp simulate --events 1000")).to_be_visible()
            await accessible(page, name)
            assert await overflow(page) <= 0, name
            await shoot(page, f"{name}-light-{width}")

    browse(check, *pair(World(empty=True)))

    async def troubled(browser: Browser, served: list[Served]) -> None:
        page, _ = await opened(browser, width)
        await page.goto(served[0].url + "/usage")
        await page.goto(served[0].url + "/")
        await served[1].stop()
        served[0].view.changed = {
            1: {"high_water": 300_000, "last_commit_ms": served[0].view.world.now_ms - 95_000},
        }
        served[0].view.owned, served[0].view.taking = {0, 1}, (2,)
        served[0].view.world.now_ms += 5000
        for name, path in {"wrong-front": "/", "wrong-group": "/groups/billing-agg", "stale-hours": "/usage"}.items():
            await page.goto(served[0].url + path)
            await expect(page.get_by_text("does not answer").first).to_be_visible()
            await expect(page.get_by_text(served[1].url.removeprefix("http://")).first).to_be_visible()
            await accessible(page, name)
            assert await overflow(page) <= 0, name
            await shoot(page, f"{name}-light-{width}")
        await page.goto(served[0].url + "/")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Something is wrong")

    browse(troubled, *pair(World(hours_back=20)))


def test_live_updates_change_numbers_and_leave_the_reader_alone() -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        world = served[0].view.world
        page, errors = await opened(browser)
        await page.goto(served[0].url + "/usage?org=hanzo&team=team_abc123&state=open")
        row = page.locator("#live-rows tbody tr").first
        before = await row.locator("td.cost data").get_attribute("value")
        assert before
        await expect(page.locator("#pulse")).to_have_text("Live")
        await row.evaluate("node => { node.mine = true; }")
        link = row.get_by_role("link").first
        await link.focus()
        await page.locator("#f-org").evaluate("node => { node.value = 'half typed'; }")
        world.advance(30_000)
        await expect(row.locator("td.cost data")).not_to_have_attribute("value", before)
        assert await row.evaluate("node => node.mine === true"), "the row was replaced, not changed"
        await expect(link).to_be_focused()
        assert await page.locator("#f-org").input_value() == "half typed"
        assert errors == []

    browse(check, FakeWorker(World(hours_back=6), "billing-agg-host-0"))


def test_a_worker_that_falls_silent_is_named_without_a_reload() -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        page, _ = await opened(browser)
        await page.goto(served[0].url + "/usage?limit=200")
        await expect(page.locator("#pulse")).to_have_text("Live")
        await expect(page.locator(".notice.stale")).to_have_count(0)
        await served[1].stop()
        served[0].view.world.advance(30_000)  # longer than any rendering is good for
        await expect(page.locator(".notice.stale")).to_contain_text(served[1].url.removeprefix("http://"))
        await expect(page.locator("tr.stale-row").first).to_be_visible()
        await page.goto(served[0].url + "/")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Running, with warnings")

    browse(check, *pair(World(hours_back=4)))


def test_everything_can_be_read_and_reached_without_scripts() -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        page, errors = await opened(browser, scripts=False)
        await page.goto(served[0].url + "/")
        await expect(page.get_by_role("heading", level=1)).to_have_text("All is well")
        await expect(page.locator("button.copy:visible")).to_have_count(0)
        await page.get_by_role("link", name="Usage", exact=True).click()
        await page.get_by_label("Team").fill("team_search")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator("tbody tr").first).to_contain_text("team_search")
        await page.get_by_role("link", name="Next").click()
        await expect(page.locator(".paging")).to_contain_text("51–100 of")
        await page.get_by_role("link", name="Previous").click()
        await expect(page.locator(".paging")).to_contain_text("1–50 of")
        await page.get_by_role("link", name="Cost").click()
        await expect(page.locator("th[aria-sort=descending]")).to_contain_text("Cost")
        await page.locator("td.waits a").first.click()
        await expect(page.get_by_role("heading", name="Lines")).to_be_visible()
        await page.get_by_text("Exact JSON, as issued").click()
        await expect(page.locator("pre")).to_contain_text('"schema":"hanzo.stream.v1"')
        assert errors == []

    browse(check, *pair(world()))


def test_keyboard_copy_and_local_times() -> None:
    async def check(browser: Browser, served: list[Served]) -> None:
        page, errors = await opened(browser)
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(served[0].url + f"/bills/{a_bill().bill_id(2)}")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#main")).to_be_focused()
        await page.get_by_role("button", name="Copy bill id").first.click()
        # The button writes in its own time.
        copied = "async wanted => await navigator.clipboard.readText() === wanted"
        await page.wait_for_function(copied, arg=a_bill().bill_id(2))
        title = await page.locator("article time").first.get_attribute("title")
        assert title
        assert "here:" in title
        await page.goto(served[0].url + "/usage")
        await page.keyboard.press("/")
        await expect(page.get_by_label("Org")).to_be_focused()
        assert errors == []

    browse(check, *pair(world()))


def test_a_picture_for_the_documentation() -> None:
    """What the README shows is what the page looks like: taken anew, small enough, kept beside the screenshots."""

    async def check(browser: Browser, served: list[Served]) -> None:
        page, _ = await opened(browser)
        await page.goto(served[0].url + f"/bills/{a_bill().bill_id(2)}")
        await expect(page.locator("#pulse")).to_have_text("Live")
        await shoot(page, "docs-bill", always=True)
        assert (SCREENSHOTS / "docs-bill.png").stat().st_size < 300_000

    browse(check, *pair(World(hours_back=400, hostile=False)))
