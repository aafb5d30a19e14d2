"""A local stand-in of PagerDuty's Events API v2, and of a webhook: real HTTP, with PagerDuty's rules.

It checks the routing key and the event's fields, keeps incidents by `dedup_key` as PagerDuty does (a trigger opens one
or adds to the open one, a resolve of nothing changes nothing), and can be told to answer 429, 5xx or not at all.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streamapp.clock import monotonic_s

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SEVERITIES = {"critical", "error", "warning", "info"}


@dataclass
class Incident:
    """What PagerDuty shows of one `dedup_key` from its trigger to its resolve."""

    key: str
    summary: str
    triggers: int = 1
    resolved: bool = False


@dataclass
class Pager:
    """The stand-in's memory. `answers`: what to answer the next requests with, before the rules are asked."""

    url: str = ""
    incidents: list[Incident] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    hooks: list[tuple[dict[str, Any], Mapping[str, str]]] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    requests: int = 0
    asked_s: list[float] = field(default_factory=list)  # when the pager was asked
    deaf: int = 0  # so many of the next events are taken, and answered 500 all the same
    away: bool = False  # 503 for everybody
    silent: bool = False  # takes the connection and says nothing
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the stand-in ends

    def open(self) -> list[Incident]:
        return [incident for incident in self.incidents if not incident.resolved]

    async def enqueue(self, request: web.Request) -> web.Response:
        """POST /v2/enqueue."""
        self.asked_s.append(monotonic_s())
        scripted = await self._scripted()
        if scripted is not None:
            return scripted
        try:
            event = await request.json()
        except json.JSONDecodeError:
            return _invalid("JSON is malformed")
        wrong = list(problems(event))
        if wrong:
            return _invalid(*wrong)
        self.events.append(event)
        self._apply(event)
        if self.deaf:
            self.deaf -= 1
            return web.Response(status=500)
        body = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return web.json_response(body, status=202)

    async def hook(self, request: web.Request) -> web.Response:
        """POST /hook."""
        scripted = await self._scripted()
        if scripted is not None:
            return scripted
        self.hooks.append((await request.json(), dict(request.headers)))
        return web.Response(status=204)

    async def _scripted(self) -> web.Response | None:
        self.requests += 1
        if self.silent:
            await self.over.wait()
        if self.away:
            return web.Response(status=503, text="away")
        if self.answers:
            status, headers = self.answers.popleft()
            return web.Response(status=status, headers=headers)
        return None

    def _apply(self, event: dict[str, Any]) -> None:
        key, action = event["dedup_key"], event["event_action"]
        known = [incident for incident in self.open() if incident.key == key]
        if action == "trigger" and known:
            known[0].triggers += 1
        elif action == "trigger":
            self.incidents.append(Incident(key, event["payload"]["summary"]))
        elif known:
            known[0].resolved = True


def problems(event: Any) -> Iterator[str]:
    """What PagerDuty has against an event, in its words where they are known."""
    if not isinstance(event, dict):
        yield "Event object is invalid"
        return
    key = event.get("routing_key")
    if not isinstance(key, str) or len(key) != 32:
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    elif key != ROUTING_KEY:
        yield "Invalid routing key"
    action = event.get("event_action")
    if action not in {"trigger", "acknowledge", "resolve"}:
        yield "'event_action' is invalid"
    dedup_key = event.get("dedup_key")
    if (dedup_key is None and action != "trigger") or len(dedup_key or "") > 255:
        yield "'dedup_key' is missing or blank, or too long"
    if action == "trigger":
        payload = event.get("payload") or {}
        for name in ("summary", "source", "severity"):
            if not isinstance(payload.get(name), str) or not payload[name]:
                yield f"'payload.{name}' is missing or blank"
        if payload.get("severity") not in SEVERITIES:
            yield "'payload.severity' is invalid"
        if len(payload.get("summary") or "") > 1024:
            yield "'payload.summary' is too long"
        if any("href" not in link for link in event.get("links", ())):
            yield "'links' is invalid"


def _invalid(*errors: str) -> web.Response:
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return web.json_response(body, status=400)


@contextmanager
def stand_in() -> Iterator[Pager]:
    """A running stand-in, in a thread of its own."""
    pager, loop, ready = Pager(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.add_routes([web.post("/v2/enqueue", pager.enqueue), web.post("/hook", pager.hook)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pager.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await pager.over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield pager
    finally:
        loop.call_soon_threadsafe(pager.over.set)
        thread.join(10)
        loop.close()
