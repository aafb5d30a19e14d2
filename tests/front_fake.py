"""Workers of the other groups, and what llm-metrics tells by the minute, for tests of the front page."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from aiohttp import web
from spreads import count_one
from web_fake import FakeWorker, World

from streamapp.facts.worker import CallFacts, GoneFacts, HourFacts, PartitionFacts, RawRow, Span, TeamFacts, WorkerFacts
from streamapp.topics import registry
from streamapp.web.show import exact
from tables.latency.spread import Spread

MINUTE_MS = 60_000


class Remembering(FakeWorker):
    """A worker that knows who left, and how it runs."""

    gone: tuple[GoneFacts, ...] = ()
    runs: tuple[tuple[str, str], ...] = ()

    def worker(self) -> WorkerFacts:
        facts = super().worker()
        return dataclasses.replace(facts, version="1.2.3", gone=self.gone)

    def settings(self) -> list[tuple[str, str]]:
        return list(self.runs)

    forgets = False
    forgotten: tuple[str, ...] = ()

    def mark_seen(self, url: str, at_ms: int) -> bool:
        if self.forgets or url in self.forgotten:
            return False
        marked = (GoneFacts(one.url, one.at_ms, one.went_to, one.seen or one.url == url) for one in self.gone)
        self.gone = tuple(marked)
        return any(one.url == url for one in self.gone)


class SinkWorker(FakeWorker):
    """A worker of a group that counts no hours: partitions, a rate, and perhaps a table."""

    def __init__(self, world: World, group: str, name: str, partitions: Iterable[int], rate: float = 1.0) -> None:
        super().__init__(world, name, partitions)
        self.group, self.topic, self.rate = group, registry.group(group).topics[0], rate
        self.table = ""

    def worker(self) -> WorkerFacts:
        facts = self.facts()
        return WorkerFacts(
            group=self.group,
            name=self.name,
            url=self.url,
            started_ms=self.world.now_ms - 7_300_000,
            partitions=facts,
            open_cost={},
            closed_cost_today={},
            revised_cost_today={},
            dead_letters=0,
            partition_count=registry.topic(self.topic).partitions,
            recent_events_per_s=tuple(round(point * self.rate, 2) for point in self.world.curve),
        )

    def facts(self) -> tuple[PartitionFacts, ...]:
        return tuple(self._of(number) for number in sorted(self.owned))

    def _of(self, number: int) -> PartitionFacts:
        usual = PartitionFacts(
            topic=self.topic,
            partition=number,
            state="running",
            watermark_ms=None,
            position=90_000,
            high_water=90_000,
            last_commit_ms=self.world.now_ms - 700,
            events_per_s=55.0 * self.rate,
            open_hours=0,
            pending_revisions=0,
            next_mark_ms=None,
            last_record_ms=self.world.now_ms - 650,
            duplicates=0,
            rejected=0,
        )
        return dataclasses.replace(usual, **self.changed.get(number, {}))

    def hours(self) -> list[HourFacts]:
        return []

    def team(self, org: str, team: str) -> list[TeamFacts]:
        return []

    def bill(self, bill_id: str) -> list[bytes]:
        return []

    def tables(self) -> tuple[str, ...]:
        return (self.table,) if self.table else ()

    def rows(self, table: str, after: tuple[Any, ...] | None, limit: int, partition: int | None) -> list[RawRow]:
        rows = [RawRow((self.group, f"key-{n}"), {"count": n}, n, n) for n in sorted(self.owned)]
        return [row for row in rows if partition is None or row.partition == partition][:limit]


class MetricsWorker(SinkWorker):
    """A worker of llm-metrics: each of its partitions has counted calls of a few models in the last hours."""

    MODELS = (("together", "zen-72b", 900), ("anthropic", "claude-sonnet-4", 1400), ("openai", "gpt-4o-mini", 420))

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        length_ms = MINUTE_MS if span == "minute" else 60 * MINUTE_MS
        found = []
        for start_ms in range(from_ms, min(until_ms, self.world.now_ms), length_ms):
            for provider, model, slow_ms in self.MODELS if each else (("", "", 900),):
                spread = Spread()
                for number in range(20):
                    count_one(spread, 1000 * (slow_ms + 37 * number * (partition + 1)))
                count, cost = 1200 + slow_ms, {"USD": Decimal(slow_ms) / 1000}
                stream = None if not each else slow_ms > 500
                numbers = (count, 3, count // 9, 410 * count, 236 * count)
                found.append(CallFacts(start_ms, provider, model, stream, *numbers, cost, spread.bins, {}))
        return found


def told(now_ms: int, minutes: int = 60, seed: int = 5) -> dict[str, Any]:
    """What `/latency.json` says: an hour of an ordinary afternoon, the newest minute still going on."""
    dice = random.Random(seed)
    rows = []
    first = now_ms // MINUTE_MS - minutes + 1
    for number in range(minutes):
        busy = 1 + 0.35 * math.sin(number / 9) + 0.18 * dice.random()
        part = 0.6 if number == minutes - 1 else 1.0
        requests = round(310 * busy * part)
        prompt, completion = round(requests * 410 * (0.9 + dice.random() / 5)), round(requests * 236 * busy)
        slow = 900 * dice.random() if number in {22, 23, 24} else 0
        cost = Decimal(prompt * 3 + completion * 9) / 1_000_000
        rows.append(
            {
                "start_ms": (first + number) * MINUTE_MS,
                "requests": requests,
                "errors": dice.randint(0, 6),
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "cost": {"USD": exact(cost), "AI": exact(cost / 50)},
                "latency_p50_ms": 640 + 90 * dice.random() + slow / 4,
                "latency_p95_ms": 1450 + 240 * dice.random() + slow,
                "latency_p99_ms": 2300 + 600 * dice.random() + 2 * slow,
                "ttft_p50_ms": 180 + 40 * dice.random(),
                "ttft_p95_ms": 420 + 90 * dice.random(),
            }
        )
    return {"minutes": rows, "models": [], "hours": [], "missing": []}


class Teller:
    """`/latency.json` of a worker of llm-metrics. `said` replaces what it says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said: dict[str, Any] | None = None
        self.asked: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """To be added before the pages."""
        return [web.get("/latency.json", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        return web.Response(text=json.dumps(self.said or told(self.world.now_ms)), content_type="application/json")


def everybody(world: World) -> tuple[list[FakeWorker], Teller, dict[FakeWorker, list[web.RouteDef]]]:
    """Two workers of billing-agg and those of the other groups, as the standard foresees them."""
    views: list[FakeWorker] = [
        FakeWorker(world, "billing-agg-host-0", range(4)),
        FakeWorker(world, "billing-agg-host-1", range(4, 8)),
    ]
    rates = {"analytics-ingest": 2.4, "llm-metrics": 1.0, "audit-archive": 0.12, "rpc-billing": 0.3}
    for one in registry.GROUPS[1:]:
        count, partitions = one.consumers, registry.topic(one.topics[0]).partitions
        for number in range(count):
            share = range(partitions * number // count, partitions * (number + 1) // count)
            name = f"{one.name}-host-{number}"
            kind = MetricsWorker if one.name == "llm-metrics" else SinkWorker
            views.append(kind(world, one.name, name, share, rates.get(one.name, 0.01) / count))
    teller = Teller(world)
    for view in views:
        if isinstance(view, SinkWorker):
            view.table = {"rpc-billing": "accounts", "llm-metrics": "minutes"}.get(view.group, "")
    return views, teller, {view: teller.routes() for view in views if view.group == "llm-metrics"}
