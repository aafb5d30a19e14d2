"""People with a real browser before the gate: their credentials reach pages, live updates and forms in every mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM
from gates import MODES, PROXY_SECRET, settings, signed, token_of
from letters_fake import FakeLetters, letter
from playwright.async_api import expect
from test_pages import accessible
from web_fake import FakeAudit, FakeWorker, World, serving

from streamapp.web.entry.gate import gate

pytest_plugins = ("chromium",)

SECRET = b'{"team_id":"team_a","org_id":"org_a","password":"hunter2secret"}'


def sent_by(mode: str) -> dict[str, Any]:
    """What a browser sends. Made when it is needed: a token of jwt expires."""
    return {
        "token": {"http_credentials": {"username": "anna", "password": token_of("auditor")}},
        # What a proxy adds on its way here:
        "proxy": {
            "extra_http_headers": {
                "X-Stream-Proxy-Secret": PROXY_SECRET,
                "X-Forwarded-User": "anna",
                "X-Forwarded-Groups": "auditor",
            }
        },
        "jwt": {"extra_http_headers": {"X-Id-Token": signed("auditor")}},
    }[mode]


@pytest.mark.parametrize("mode", [pytest.param(one, marks=[pytest.mark.long] * (one == "jwt")) for one in MODES])
def test_a_browser_reads_follows_and_unmasks(tmp_path: Path, mode: str) -> None:
    one, audit, world = letter(value=SECRET), FakeAudit(), World(hours_back=1)
    door = gate(settings(tmp_path, mode, jwt_header="X-Id-Token"), "0.0.0.0", world.clock)

    async def run() -> None:
        view = FakeWorker(world, "agg-0")
        serve = serving(view, gate=door, letters=FakeLetters([one]), audit=audit, peer_timeout_s=10)
        async with serve as served, CHROMIUM.opened() as browser:
            stranger = await browser.new_context()  # a page of it would wait for a person at the browser's dialog
            answer = await stranger.request.get(served[0].url)
            assert answer.status == (403 if mode == "proxy" else 401)
            page = await (await browser.new_context(**sent_by(mode))).new_page()
            await page.goto(served[0].url + "/usage")
            await expect(page.locator("#pulse")).to_have_text("Live")
            assert served[0].pages.live.clients == 1
            await page.goto(f"{served[0].url}/letters/{one.id}")
            assert "hunter2secret" not in await page.content()
            await page.get_by_role("link", name="unmasked here").click()
            await accessible(page, "unmask")
            await page.get_by_label("Reason").fill("The customer asked which it was")
            await page.get_by_role("button", name="Show the value").click()
            await expect(page.locator("pre")).to_contain_text("hunter2secret")
            await accessible(page, "unmask")

    CHROMIUM.run(run())
    assert [data["user_id"] for _, data in audit.written] == ["auditor" if mode == "token" else "anna"]
