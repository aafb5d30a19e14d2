"""The pages that find events, incidents and acts in a real browser: both colour schemes, wide and narrow."""

from __future__ import annotations

from acting_fake import FakeActing, MonitorWorker
from chromium import CHROMIUM
from events_fake import FakeEventLog, TracingWorker, behind_a_bill
from letters_fake import FakeLetters, letter
from playwright.async_api import Browser
from test_pages import LOOKS, accessible, opened, overflow, shoot
from web_fake import World, serving

pytest_plugins = ("chromium",)


@LOOKS
def test_event_pages_fit_and_are_accessible(scheme: str, width: int) -> None:
    world = World(hours_back=3, hostile=False)
    log, bill = behind_a_bill(world)
    letters = FakeLetters([letter(number, reason=f"reason_{number % 30}") for number in range(60)])

    async def check(browser: Browser, base: str) -> None:
        page, errors = await opened(browser, width, scheme)
        for name, path in pages(log, bill, letters).items():
            await page.goto(base + path)
            assert await overflow(page) <= 0, f"{name} is too wide"
            await accessible(page, f"{name} {scheme} {width}")
            await shoot(page, f"{name}-{scheme}-{width}")
        await page.fill("#find", bill)
        await page.press("#find", "Enter")
        await page.wait_for_url(f"{base}/bills/{bill}")
        assert [error for error in errors if "404" not in error] == []

    async def run() -> None:
        views = TracingWorker(world, "agg-0", log), MonitorWorker(world, "dead-letter-monitor", "monitor-0", range(1))
        async with (
            serving(*views, letters=letters, events=log, acting=FakeActing(letters)) as served,
            CHROMIUM.opened() as browser,
        ):
            await check(browser, served[0].url)

    CHROMIUM.run(run())


def pages(log: FakeEventLog, bill: str, letters: FakeLetters) -> dict[str, str]:
    """Name of the screenshot → where it is."""
    call = log.records[-1]
    return {
        "event-billed": f"/events/{call.topic}%5B{call.partition}%5D@{call.offset}",
        "event-nowhere": "/events/request-4711",
        "bill-tabs": f"/bills/{bill}",
        "act-drop": f"/act?do=drop&cause={letters.letters[0].cause}",
    }
