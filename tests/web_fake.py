"""An in-memory twin of `WorkerView` with seeded, realistic data, and a way to serve several of them on real ports.

One `World` is the truth of the whole group; each `FakeWorker` shows the partitions it owns.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, cast

from aiohttp import web

from streamapp.dead_letters.acting import Acting
from streamapp.dead_letters.recent import Letters
from streamapp.errors import Unavailable
from streamapp.events.log import EventLog
from streamapp.facts.budget import BudgetFacts, LimitFacts, MonthTally, Spending
from streamapp.facts.worker import CallFacts, HourFacts, PartitionFacts, RawRow, Span, TeamFacts, WorkerFacts
from streamapp.topics.registry import GROUPS
from streamapp.watch.lag import Unread
from streamapp.watch.standing import Standing, Standings
from streamapp.web.entry.audit import UNMASKED, Audit
from streamapp.web.entry.gate import Gate
from streamapp.web.entry.identity import Everybody
from streamapp.web.outside import Outside
from streamapp.web.pages.asked import Registered
from streamapp.web.pages.front.lags import Hours
from streamapp.web.pages.front.reconciliation import Reconciliation
from streamapp.web.pages.usage.kept import KeptBills
from streamapp.web.routes import Pages, mount
from streamapp.web.show import exact, rfc3339, total

HOUR_MS = 3_600_000
GRACE_MS = 300_000
OPEN = Gate(Everybody(), is_open=True)
MARK_MS = 300_000
NOW_MS = 1_737_110_537_000  # 2025-01-17T10:42:17Z
PARTITIONS = 8
MODELS = (
    ("together", "zen-72b", "0.000010", 5),
    ("fireworks", "zen-coder-32b", "0.0000045", 4),
    ("openai", "gpt-4o-mini", "0.0000006", 3),
    ("anthropic", "claude-sonnet", "0.0000118", 2),
    ("hanzo", "zen-embed-small", "0.00000002", 2),
)
TEAMS = (
    ("org_hanzo", "team_abc123"),
    ("org_hanzo", "team_chat"),
    ("org_hanzo", "team_research"),
    ("org_hanzo", "team_agents"),
    ("org_acme", "team_search"),
    ("org_acme", "team_support"),
    ("org_acme", "team_billing-bots"),
    ("org_northwind", "team_catalog"),
    ("org_northwind", "team_pricing"),
    ("org_northwind", "team_ops"),
    ("org_lumen", "team_vision"),
    ("org_lumen", "team_voice"),
    ("org_lumen", "team_labs"),
    ("org_kestrel", "team_flight"),
    ("org_kestrel", "team_maps"),
    ("org_orchard", "team_garden"),
    ("org_orchard", "team_shop"),
    ("org_sable", "team_night"),
    ("org_sable", "team_copy"),
    ("org_tern", "team_mail"),
)
HOSTILE = (
    ("org_<b>x</b>", '<script>alert("x")</script>'),
    ("org/with/slash", "a/b?c=d&e=1#f%2F"),
    ("組織", "日本語 チーム"),
    ("..", "."),
    ("org_hanzo", "team_abc123.json"),
    ("{org}", "{team}"),
    ("org_rtl", "team\u202egnp.exe"),
    ("org_quote", 'it\'s "quoted" & more\n'),
    ("org_pct", "%252e%2e"),
    ("org_plus", "a+b c"),
)
Usage = dict[str, int]
COUNTERS = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(slots=True, eq=False)
class Stage:
    """What a bucket gained between two statements: per (provider, model), counters and cost. It stays as it is."""

    lines: dict[tuple[str, str], tuple[Usage, Decimal]]
    stated_ms: int = 0


@dataclass(slots=True, eq=False)
class Bucket:
    """One hour of one team. Stages are only added: what was worked out of the same ones is worked out once."""

    org: str
    team: str
    start_ms: int
    partition: int
    first_offset: int
    currency: str = "USD"
    stages: list[Stage] = field(default_factory=list)
    open: bool = False
    pending: bool = False
    _lines: dict[int, dict[tuple[str, str], tuple[Usage, Decimal]]] = field(default_factory=dict)
    _sums: dict[int, tuple[Usage, Decimal]] = field(default_factory=dict)
    _ids: dict[int, str] = field(default_factory=dict)

    def lines(self, upto: int | None = None) -> dict[tuple[str, str], tuple[Usage, Decimal]]:
        """All stages added, or the first `upto`."""
        number = len(self.stages[:upto])
        if number not in self._lines:
            self._lines[number] = self._added(number)
        return self._lines[number]

    def sums(self, upto: int | None = None) -> tuple[Usage, Decimal]:
        """Counters and cost of these lines together."""
        number = len(self.stages[:upto])
        if number not in self._sums:
            self._sums[number] = add_up(self.lines(number).values())
        return self._sums[number]

    def _added(self, number: int) -> dict[tuple[str, str], tuple[Usage, Decimal]]:
        if number == 1:
            return self.stages[0].lines
        found: dict[tuple[str, str], tuple[Usage, Decimal]] = {}
        for stage in self.stages[:number]:
            for name, (usage, cost) in stage.lines.items():
                old, old_cost = found.get(name, (dict.fromkeys(COUNTERS, 0), Decimal(0)))
                found[name] = ({c: old[c] + usage[c] for c in COUNTERS}, old_cost + cost)
        return found

    def bill_id(self, revision: int) -> str:
        """Deterministic, like the real one."""
        if revision not in self._ids:
            self._ids[revision] = self._id(revision)
        return self._ids[revision]

    def _id(self, revision: int) -> str:
        text = json.dumps([self.org, self.team, self.currency, self.start_ms, revision])
        number = (self.start_ms + HOUR_MS) << 80 | int.from_bytes(hashlib.sha256(text.encode()).digest()[:10], "big")
        letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        return "evt_" + "".join(letters[number >> shift & 31] for shift in range(125, -1, -5))


def add_up(lines: Iterable[tuple[Usage, Decimal]]) -> tuple[Usage, Decimal]:
    """Counters and cost of several lines together."""
    usage, total = dict.fromkeys(COUNTERS, 0), Decimal(0)
    for one, cost in lines:
        usage, total = {c: usage[c] + one[c] for c in COUNTERS}, total + cost
    return usage, total


def _shape(usage: Usage, cost: Decimal) -> dict[str, Any]:
    return {**usage, "cost": exact(cost)}


class World:
    """All hours of a group. `advance` lets one second of usage happen."""

    def __init__(self, seed: int = 7, hours_back: int = 400, hostile: bool = True, empty: bool = False) -> None:
        self.now_ms = NOW_MS
        self.random = random.Random(seed)
        self.buckets: list[Bucket] = []
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.dead_letters = 0 if empty else 12
        self.curve = [] if empty else [round(410 + 90 * self.random.random(), 1) for _ in range(90)]
        if not empty:
            for team in TEAMS + (HOSTILE if hostile else ()):
                self._fill(*team, hours_back)
        self.buckets.sort(key=lambda b: -b.start_ms)

    @cached_property
    def bills(self) -> dict[str, Bucket]:
        """Every statement's id. An hour that is open has none, and stays open."""
        return {b.bill_id(r): b for b in self.buckets if not b.open for r in range(self.revisions(b))}

    def clock(self) -> int:
        """Milliseconds, moving only with `advance`."""
        return self.now_ms

    def revisions(self, bucket: Bucket) -> int:
        """Statements so far."""
        return len(bucket.stages) - bucket.pending

    def _fill(self, org: str, team: str, hours_back: int) -> None:
        partition = zlib.crc32(team.encode("utf-8", "replace")) % PARTITIONS
        size = self.random.choice((1, 2, 4, 9))
        newest = self.now_ms // HOUR_MS * HOUR_MS
        models = self.random.sample(MODELS, self.random.randint(1, 4))
        for back in range(hours_back, -1, -1):
            start = newest - back * HOUR_MS
            if back and self.random.random() < 0.12:
                continue
            bucket = Bucket(org, team, start, partition, self.offsets[partition], open=back == 0)
            bucket.stages.append(Stage(self._usage(size * (9 + start // HOUR_MS % 24), models)))
            bucket.stages[0].stated_ms = start + HOUR_MS + GRACE_MS
            if not bucket.open and self.random.random() < 0.01:
                bucket.stages[0].stated_ms += 73_417  # the wall clock closed it
            at = bucket.stages[0].stated_ms // MARK_MS * MARK_MS
            while not bucket.open and self.random.random() < 0.07 and len(bucket.stages) < 4:
                at += MARK_MS * self.random.randint(1, 3)
                bucket.stages.append(Stage(self._usage(self.random.randint(1, 3), models), at))
            bucket.pending = back < 9 and len(bucket.stages) > 1 and self.random.random() < 0.6
            self.offsets[partition] += 40
            self.buckets.append(bucket)

    def _usage(
        self, requests: int, models: list[tuple[str, str, str, int]]
    ) -> dict[tuple[str, str], tuple[Usage, Decimal]]:
        lines: dict[tuple[str, str], tuple[Usage, Decimal]] = {}
        for provider, model, price, weight in models:
            count = max(1, round(requests * weight / 3))
            prompt, completion = (count * self.random.randint(low, 900) for low in (120, 200))
            errors, hits = (self.random.randint(0, max(1, count // 9)) for _ in range(2))
            numbers = (count, min(errors, count), min(hits, count), prompt, completion, prompt + completion)
            lines[(provider, model)] = (
                dict(zip(COUNTERS, numbers, strict=True)),
                Decimal(price) * (prompt + 2 * completion),
            )
        return lines

    def advance(self, ms: int = 1000) -> None:
        """Time passes and every open hour grows."""
        self.now_ms += ms
        self.curve = [*self.curve[1:], round(410 + 90 * self.random.random(), 1)]
        for bucket in self.buckets:
            if bucket.open:
                bucket.stages.append(Stage(self._usage(2, list(MODELS[:2]))))
                self.offsets[bucket.partition] += 3

    def statement(self, bucket: Bucket, revision: int) -> bytes:
        """The envelope of one revision, as stated."""
        usage, cost = bucket.sums(revision + 1)
        delta, delta_cost = add_up(bucket.stages[revision].lines.values())
        data = {
            "billing_id": bucket.bill_id(revision),
            "revision": revision,
            "supersedes": bucket.bill_id(revision - 1) if revision else None,
            "team_id": bucket.team,
            "period_start": rfc3339(bucket.start_ms),
            "period_end": rfc3339(bucket.start_ms + HOUR_MS),
            "currency": bucket.currency,
            "totals": _shape(usage, cost),
            "delta": _shape(delta, delta_cost),
            "lines": [
                {"provider": provider, "model": model, **_shape(u, c)}
                for (provider, model), (u, c) in sorted(bucket.lines(revision + 1).items())
            ],
            "running_total": self._running(bucket, revision),
            "coverage": {
                "topic": "llm_usage",
                "partition": bucket.partition,
                "first_offset": bucket.first_offset,
                "last_offset": bucket.first_offset + usage["requests"] * 3,
                "events": usage["requests"],
            },
        }
        envelope = {
            "schema": "hanzo.stream.v1",
            "id": bucket.bill_id(revision),
            "type": "billing.usage.revised" if revision else "billing.usage.hourly",
            "source": "billing-aggregator",
            "timestamp": rfc3339(bucket.stages[revision].stated_ms),
            "team_id": bucket.team,
            "org_id": bucket.org,
            "data": data,
        }
        return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()

    def _running(self, bucket: Bucket, revision: int) -> dict[str, Any]:
        at = (bucket.stages[revision].stated_ms, bucket.start_ms, revision)
        usage, cost = add_up(
            line
            for other in self.buckets
            if (other.org, other.team, other.currency) == (bucket.org, bucket.team, bucket.currency)
            and not other.open
            and rfc3339(other.start_ms)[:7] == rfc3339(bucket.start_ms)[:7]
            for number, stage in enumerate(other.stages[: self.revisions(other)])
            if (stage.stated_ms, other.start_ms, number) <= at
            for line in stage.lines.values()
        )
        return {"month": rfc3339(bucket.start_ms)[:7], "cost": exact(cost), "total_tokens": usage["total_tokens"]}


class FakeWorker:
    """One worker's view of a `World`. Attributes may be changed by a test at any time."""

    group, topic = "billing-agg", "llm_usage"

    def __init__(self, world: World, name: str, partitions: Iterable[int] = range(PARTITIONS), url: str = "") -> None:
        self.world, self.name, self.url = world, name, url
        self.owned = set(partitions)
        self.others: list[FakeWorker] = []
        self.changed: dict[int, dict[str, Any]] = {}  # partition → fields that differ
        self.taking: tuple[int, ...] = ()
        self.joined = True
        self.summing = False

    def worker(self) -> WorkerFacts:
        today = self.world.now_ms // 86_400_000 * 86_400_000
        money: list[Decimal] = [Decimal(0), Decimal(0), Decimal(0)]
        for bucket in self._mine():
            for number, stage in enumerate(bucket.stages[: self.world.revisions(bucket) or None]):
                if bucket.open or stage.stated_ms >= today:
                    money[0 if bucket.open else min(number, 1) + 1] += add_up(stage.lines.values())[1]
        amounts: list[dict[str, Decimal]] = [{"USD": amount} if amount else {} for amount in money]
        share = len(self.owned) / PARTITIONS
        return WorkerFacts(
            group=self.group,
            name=self.name,
            url=self.url,
            started_ms=NOW_MS - 7_450_000,
            partitions=self.facts(),
            open_cost=amounts[0],
            closed_cost_today=amounts[1],
            revised_cost_today=amounts[2],
            dead_letters=round(self.world.dead_letters * share),
            partition_count=PARTITIONS,
            taking=self.taking,
            joined=self.joined,
            summing=self.summing,
            recent_events_per_s=tuple(point * share for point in self.world.curve),
            open_events={"USD": sum(usage["requests"] for b in self._mine() if b.open for usage in _usages(b))},
        )

    def facts(self) -> tuple[PartitionFacts, ...]:
        """Its partitions."""
        return tuple(self._partition(number) for number in sorted(self.owned))

    def _partition(self, number: int) -> PartitionFacts:
        mine = [b for b in self.world.buckets if b.partition == number]
        idle = not mine
        facts: dict[str, Any] = {
            "topic": self.topic,
            "partition": number,
            "state": "idle" if idle else "running",
            "watermark_ms": None if idle else self.world.now_ms - 900 - 130 * number,
            "position": self.world.offsets[number],
            "high_water": self.world.offsets[number] + (0 if idle else number % 3),
            "last_commit_ms": None if idle else self.world.now_ms - 40 * number,
            "events_per_s": 0.0 if idle else 38.0 + number * 7.25,
            "open_hours": sum(b.open for b in mine),
            "open_rows": sum(b.open for b in mine),
            "pending_revisions": sum(b.pending for b in mine),
            "next_mark_ms": None if idle else (self.world.now_ms // MARK_MS + 1) * MARK_MS,
            "last_record_ms": None if idle else self.world.now_ms - 300,
            "duplicates": 0,
            "rejected": 0,
        }
        return PartitionFacts(**{**facts, **self.changed.get(number, {})})

    def peers(self) -> tuple[str, ...]:
        return tuple(other.url for other in self.others)

    def _mine(self) -> list[Bucket]:
        return [bucket for bucket in self.world.buckets if bucket.partition in self.owned]

    def hours(self) -> list[HourFacts]:
        return [self._hour(bucket) for bucket in self._mine()]

    def _hour(self, bucket: Bucket) -> HourFacts:
        usage, cost = bucket.sums()
        revision = None if bucket.open else self.world.revisions(bucket) - 1
        counters: dict[str, Any] = dict(usage)
        return HourFacts(
            org=bucket.org,
            team=bucket.team,
            currency=bucket.currency,
            start_ms=bucket.start_ms,
            state="open" if bucket.open else "revised" if revision else "closed",
            pending=bucket.pending,
            **counters,
            cost=cost,
            revision=revision,
            bill_id=None if revision is None else bucket.bill_id(revision),
            partition=bucket.partition,
            first_offset=bucket.first_offset,
            last_offset=bucket.first_offset + usage["requests"] * 3,
            closes_at_ms=bucket.start_ms + HOUR_MS + GRACE_MS,
            watermark_ms=self.world.now_ms - 900 - 130 * bucket.partition,
            pending_cost=cost - bucket.sums(max(0, revision or 0) + 1 if bucket.pending else None)[1],
        )

    def team(self, org: str, team: str) -> list[TeamFacts]:
        mine = [b for b in self._mine() if (b.org, b.team) == (org, team)]
        if not mine:
            return []
        months: dict[str, list[Any]] = {}
        lines: dict[tuple[str, str], list[tuple[Usage, Decimal]]] = {}
        month = rfc3339(mine[0].start_ms)[:7]
        for bucket in mine:
            usage, cost = bucket.sums()
            if not bucket.open:
                sums = months.setdefault(rfc3339(bucket.start_ms)[:7], [Decimal(0), 0])
                sums[0], sums[1] = sums[0] + cost, sums[1] + usage["total_tokens"]
            if rfc3339(bucket.start_ms)[:7] == month:
                for name, line in bucket.lines().items():
                    lines.setdefault(name, []).append(line)
        models: list[dict[str, Any]] = []
        for (provider, model), found in sorted(lines.items()):
            usage, cost = add_up(found)
            models.append({"provider": provider, "model": model, **usage, "cost": cost})
        hours = tuple(self._hour(b) for b in mine if rfc3339(b.start_ms)[:7] == month)
        totals = tuple((name, cost, tokens) for name, (cost, tokens) in sorted(months.items(), reverse=True))
        return [TeamFacts(org, team, "USD", totals, hours, tuple(models))]

    def models(self, row: HourFacts) -> list[tuple[str, str, HourFacts]]:
        key = row.org, row.team, row.start_ms, row.currency
        bucket = next(b for b in self._mine() if (b.org, b.team, b.start_ms, b.currency) == key)
        lines = bucket.lines().items()
        return [(*names, replace(row, cost=cost, **cast(Any, usage))) for names, (usage, cost) in lines]

    def budgets(self, org: str, team: str, month: str) -> list[BudgetFacts]:
        return [one for one in self._months(month) if (one.org, one.team) == (org, team)]

    def spending(self, month: str, org: str, team: str, most: int) -> Spending:
        found = [one for one in self._months(month) if org in one.org and team in one.team]
        tallies = []
        for number in sorted({one.partition for one in found}):
            mine = [one for one in found if one.partition == number]
            tallies.append(MonthTally(number, len(mine), {"USD": total(one.spent for one in mine)}))
        return Spending(found[:most], tallies)

    def _months(self, month: str) -> list[BudgetFacts]:
        """Each team's month, with limits that differ by the team's place."""
        month = month or rfc3339(self.world.now_ms)[:7]
        sums: dict[tuple[str, str, int], list[Decimal]] = {}
        for bucket in self._mine():
            if rfc3339(bucket.start_ms)[:7] == month:
                cost = bucket.sums()[1]
                both = sums.setdefault((bucket.org, bucket.team, bucket.partition), [Decimal(0), Decimal(0)])
                both[bucket.open] += cost
        found = []
        for number, ((org, team, partition), (billed, unbilled)) in enumerate(sorted(sums.items())):
            spent, rate = billed + unbilled, unbilled / 4
            limits = tuple(
                LimitFacts(kind, amount, amount - spent, NOW_MS - 7_000_000 if amount <= spent else None)
                for kind, amount in (("soft", spent * (number % 3) + 1), ("hard", spent * (number % 4) + 2))
            )
            forecast = spent + rate * 348
            found.append(
                BudgetFacts(
                    org, team, "USD", month, spent, billed, unbilled, rate, forecast, limits[number % 3 :], partition,
                    self.world.now_ms - 900,
                )
            )  # fmt: skip
        return sorted(found, key=lambda one: -one.spent)

    def bill(self, bill_id: str) -> list[bytes]:
        bucket = self.world.bills.get(bill_id)
        if bucket is None or bucket.partition not in self.owned:
            return []
        return [self.world.statement(bucket, number) for number in range(self.world.revisions(bucket))]

    def rows(self, table: str, after: tuple[Any, ...] | None, limit: int, partition: int | None) -> list[RawRow]:
        mine = [b for b in self._mine() if partition is None or b.partition == partition]
        rows = {("hour", b.start_ms, b.org, b.team, b.currency): b for b in mine}
        keys = sorted(key for key in rows if after is None or key > after)[:limit]
        return [
            RawRow(
                key,
                {
                    "cost": exact(rows[key].sums()[1]),
                    "stages": len(rows[key].stages),
                    "open": rows[key].open,
                },
                rows[key].partition,
                rows[key].first_offset + 9,
            )
            for key in keys
        ]

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        return []

    def tables(self) -> tuple[str, ...]:
        return ("usage_hourly",) if self.world.buckets else ()

    def metrics(self, openmetrics: bool = False, more: bytes = b"") -> bytes:
        told = "# HELP stream_events_total Records applied\n# TYPE stream_events_total counter\nstream_events_total 1\n"
        return told.encode() + more


def _usages(bucket: Bucket) -> list[Usage]:
    return [usage for stage in bucket.stages for usage, _ in stage.lines.values()]


class FakeStandings(Standings):
    """Kafka as it would speak of these workers. `said` replaces what it says of a group; `problem` is its silence."""

    def __init__(self, views: Sequence[FakeWorker]) -> None:
        self.views = views
        self.said: dict[str, Standing] = {}
        self.problem = ""
        self.answers = asyncio.Event()
        self.answers.set()

    async def now(self) -> Mapping[str, Standing]:
        await self.answers.wait()
        if self.problem:
            raise Unavailable(self.problem)
        return {group.name: self.said.get(group.name) or self._of(group.name) for group in GROUPS}

    def _of(self, name: str) -> Standing:
        views = [view for view in self.views if view.group == name]
        if not views:
            return Standing("never started")
        owned = [(one, view.url) for view in views for one in view.facts()]
        behind = {(one.topic, one.partition): Unread(one.lag) for one, _ in owned}
        owners = {(one.topic, one.partition): url for one, url in owned}
        return Standing("running", tuple(view.url for view in views), behind, owners)


class FakeWatch:
    """The last hour of one group; `problem`: it does not answer."""

    def __init__(self, hours: Hours) -> None:
        self.hours, self.problem = hours, ""

    async def __call__(self) -> Hours:
        if self.problem:
            raise Unavailable(self.problem)
        return self.hours


class FakeAudit(Audit):
    """Keeps what was written; `failure` is raised instead."""

    def __init__(self) -> None:
        self.written: list[tuple[str | None, Mapping[str, Any]]] = []
        self.failure: Exception | None = None

    async def write(self, org_id: str | None, data: Mapping[str, Any], type: str = UNMASKED) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append((org_id, data))

    async def close(self) -> None:
        pass


@dataclass
class Served:
    """A worker on a port. `stop` ends it as a crash would, for its peers."""

    view: FakeWorker
    pages: Pages
    runner: web.AppRunner
    url: str

    async def stop(self) -> None:
        await self.runner.cleanup()


@asynccontextmanager
async def serving(
    *views: FakeWorker,
    peer_timeout_s: float = 10,
    letters: Letters | None = None,
    reconciliation: Reconciliation | None = None,
    standings: Standings | None = None,
    gate: Gate | None = None,
    audit: Audit | None = None,
    ledger: KeptBills | None = None,
    events: EventLog | None = None,
    acting: Acting | None = None,
    extra: Mapping[FakeWorker, Sequence[web.RouteDef]] | None = None,
    watch: Callable[[], Awaitable[Hours]] | None = None,
    subjects: Callable[[], Awaitable[list[Registered]]] | None = None,
) -> AsyncIterator[list[Served]]:
    """Serve every view on a free port; those of a group know each other as peers, and Kafka knows all of them.

    `extra` has routes that a view's own application has besides the pages.
    """
    asked: dict[str, Any] = {
        "audit": audit,
        "ledger": ledger,
        "events": events,
        "acting": acting,
        "letters": letters,
        "reconciliation": reconciliation,
        "standings": standings or FakeStandings(views),
        "watch": watch,
        "subjects": subjects,
    }
    async with AsyncExitStack() as stack:
        served = []
        for view in views:
            app = web.Application()
            app.add_routes((extra or {}).get(view, ()))
            pages = mount(
                app,
                view,
                clock=view.world.clock,
                peer_timeout_s=peer_timeout_s,
                gate=gate or OPEN,
                outside=Outside(**{name: one for name, one in asked.items() if one is not None}),
            )
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            view.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            view.others = [other for other in views if other is not view and other.group == view.group]
            served.append(Served(view, pages, runner, view.url))
        yield served
