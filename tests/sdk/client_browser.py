"""PostHog's client for browsers, in Chromium, on a page of another origin: `client_browser.py <JSON>`.

In:  {"host", "token", "flavor", "many", "modules"}; flavor "late" has a clock an hour behind, "leaving" leaves the page
     while its events are still held back, "hasty" does so when it is told a line. It ends when its standard input does.
Out: {"uuids": {uuid: event}, "errors": [...]}
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PAGE = b"""<!doctype html><title>Shop</title><button>Buy</button>
<script type="module">
  import posthog from "/module.mjs";
  window.sent = {};
  window.start = (token, host) => {
    posthog.init(token, {
      api_host: host,
      opt_out_useragent_filter: true, // it takes a browser under test for a robot, and robots are not counted
      before_send: (event) => { window.sent[event.uuid] = event.event; return event; },
      loaded: () => { window.posthog = posthog; },
    });
  };
  window.ready = true;
</script>"""
LATE = """const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) { super(...(given.length ? given : [RealDate.now() - 3600000])); }
  static now() { return RealDate.now() - 3600000; }
};"""
TOUR = """() => {
  posthog.capture("order placed", { price: 12.5, name: "M\u00fcller \u2603" });
  posthog.identify("user_456", { plan: "pro" });
  posthog.alias("visitor_1");
  posthog.group("company", "hanzo", { seats: 7 });
  posthog.capture("plan chosen", {}, { timestamp: new Date(Date.now() - 5 * 60_000) });
}"""
# It packs until it has asked which packings are understood here, and was told nothing.
UNPACKED = "window.posthog.compression === undefined"
LEAVING = ("leaving", "hasty")
MANY = """(count) => { for (let n = 0; n < count; n++) posthog.capture("clicked", { n }); }"""


class _Handler(SimpleHTTPRequestHandler):
    """The page, and the library's own file beside it."""

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)
        return None

    def guess_type(self, path: Any) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def site(library: Path) -> Iterator[str]:
    """The URL of the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(library))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Open the page, send, stay until nobody asks for more."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    errors: list[str] = []
    with site(Path(asked["modules"]) / "posthog-js" / "dist") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "CORS" in said.text else None)
        uuids = _visit(page, url, asked)
        if asked["flavor"] in LEAVING:
            page.goto("about:blank")
        sys.stdin.read()  # the page goes on by itself meanwhile
        if asked["flavor"] not in LEAVING:
            uuids = page.evaluate("window.sent")
        browser.close()
    return {"uuids": uuids, "errors": errors}


def _visit(page: Page, url: str, asked: dict[str, Any]) -> dict[str, str]:
    if asked["flavor"] == "late":
        page.add_init_script(LATE)
    page.goto(url)
    page.wait_for_function("window.ready")
    page.evaluate("([token, host]) => window.start(token, host)", [asked["token"], asked["host"]])
    page.wait_for_function("window.posthog")
    if asked["flavor"] == "leaving":
        page.wait_for_function(UNPACKED)
    if asked["flavor"] == "hasty":
        sys.stdin.readline()
    page.evaluate(MANY if asked["many"] else TOUR, asked["many"])
    uuids: dict[str, str] = page.evaluate("window.sent")
    return uuids


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
