"""The requests of the benchmark, as PostHog's clients send them: made once, the same bytes on every machine."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

TEAMS = 50
QUOTA = 100_000_000  # kept account of, never reached
SINGLE, BATCH = "single", "batch"
EVENTS = {SINGLE: 1, BATCH: 100}  # per request
REQUESTS = {SINGLE: 2_000, BATCH: 100}  # different ones, sent in turn
PATHS = {SINGLE: "/i/v0/e/", BATCH: "/batch/"}

_START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_PAGES = ("pricing", "docs", "blog/launch", "console/keys", "models/zen-72b", "")
_BROWSERS = (("Chrome", 142), ("Firefox", 145), ("Safari", 26))
_SYSTEMS = ("Mac OS X", "Windows", "Linux", "iOS", "Android")


def directory() -> str:
    """The team directory of the run, as `STREAM_DIRECTORY` wants it."""
    return "".join(
        f'[teams.{team(n)}]\norg = "org_{n % 7}"\ntokens = ["{token(n)}"]\nquota_per_second = {QUOTA}\n\n'
        for n in range(TEAMS)
    )


def team(number: int) -> str:
    return f"team_{number:03d}"


def token(number: int) -> str:
    return f"ha_{number:032d}"


def requests(kind: str, host: str, seed: int = 1) -> list[bytes]:
    """Whole HTTP/1.1 requests of one kind. Every event has a uuid of its own within the list."""
    chance = random.Random(f"{kind} {seed}")
    return [_request(PATHS[kind], host, _body(kind, chance)) for _ in range(REQUESTS[kind])]


def _body(kind: str, chance: random.Random) -> dict[str, Any]:
    key = token(min(int(chance.paretovariate(0.7)) - 1, TEAMS - 1))  # few teams send most
    if kind == SINGLE:
        return {"api_key": key, **_event(chance)}
    return {"api_key": key, "historical_migration": False, "batch": [_event(chance) for _ in range(EVENTS[kind])]}


def _event(chance: random.Random) -> dict[str, Any]:
    page, (browser, version) = chance.choice(_PAGES), chance.choice(_BROWSERS)
    at = _START + timedelta(milliseconds=chance.randrange(3_600_000))
    return {
        "event": "$pageview",
        "distinct_id": f"user_{chance.randrange(100_000)}",
        "uuid": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "properties": {
            "$current_url": f"https://hanzo.ai/{page}",
            "$host": "hanzo.ai",
            "$pathname": f"/{page}",
            "$browser": browser,
            "$browser_version": version,
            "$os": chance.choice(_SYSTEMS),
            "$screen_height": 1080,
            "$screen_width": 1920,
            "$session_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "$lib": "web",
            "$lib_version": "1.449.2",
            "plan": chance.choice(("free", "pro", "team")),
            "load_ms": chance.randrange(40, 4_000),
        },
    }


def _request(path: str, host: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
