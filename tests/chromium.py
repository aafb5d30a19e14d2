"""One Chromium for the tests of a process: each has contexts of its own. A start costs 1.6 s of processor time.

A browser belongs to the event loop that started it; so these tests run in one loop. `pytest_plugins = ("chromium",)` in
a module that needs it: the browser ends with the session.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from playwright.async_api import Browser, async_playwright
from playwright.async_api import Error as PlaywrightError

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Chromium:
    """The browser, started by who asks first, and its loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._ending = AsyncExitStack()
        self._browser: Browser | None = None

    def run(self, test: Coroutine[object, object, None]) -> None:
        """`asyncio.run`, in the loop of the browser."""
        self._runner.run(test)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Browser]:
        """The browser without a context; those that are made are closed."""
        if self._browser is None or not self._browser.is_connected():
            self._browser = await self._started()
        try:
            yield self._browser
        finally:
            for context in self._browser.contexts:
                with suppress(PlaywrightError):
                    await context.close()

    async def _started(self) -> Browser:
        program = shutil.which("chromium")
        assert program, "these tests need Chromium: apt-get install chromium"
        playwright = await self._ending.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=program, args=ARGS)
        self._ending.push_async_callback(browser.close)
        return browser

    def end(self) -> None:
        self._runner.run(self._ending.aclose())
        self._runner.close()


CHROMIUM = Chromium()


@pytest.fixture(scope="session", autouse=True)
def _browser() -> Iterator[None]:
    yield
    CHROMIUM.end()
