"""Tokens, cost and latency by the minute, as any worker of llm-metrics tells them, ready to be drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import aiohttp
import msgspec

from streamapp.errors import Unavailable
from streamapp.web import show
from streamapp.web.pages import chart
from streamapp.web.workers.fleet import bounded
from streamapp.web.workers.fleets import Fleets

GROUP = "llm-metrics"
MINUTE_MS = 60_000
MINUTES = 60
MEMBERS_MAX = 3  # asked one after the other; each knows what all of them know
TOLD = f"/latency.json?minutes={MINUTES}"


class Minute(msgspec.Struct, frozen=True):
    """What happened in a minute of event time. Latencies are None where nothing was asked."""

    start_ms: int
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost: dict[str, str] = {}
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None

    def spent(self, currency: str) -> Decimal:
        """Cost in a currency; zero where none is told."""
        try:
            return Decimal(self.cost.get(currency, "0"))
        except InvalidOperation:
            return Decimal(0)


class _Told(msgspec.Struct):
    minutes: list[Minute] = []
    missing: list[Any] = []


@dataclass(frozen=True, slots=True)
class Charts:
    """An hour of minutes, oldest first, without a gap. `missing`: how many workers their teller did not reach."""

    minutes: tuple[Minute, ...]
    missing: int = 0

    @property
    def currency(self) -> str:
        """The one that is drawn: sums of different currencies have no common axis."""
        known = self.currencies
        return "USD" if "USD" in known or not known else known[0]

    @property
    def currencies(self) -> list[str]:
        return sorted({currency for minute in self.minutes for currency in minute.cost})

    @property
    def spent(self) -> Decimal:
        currency = self.currency
        return show.total(minute.spent(currency) for minute in self.minutes)

    def total(self, name: str) -> int:
        """Sum of a counter."""
        return sum(getattr(minute, name) for minute in self.minutes)

    @property
    def newest(self) -> Minute | None:
        """The newest minute that was asked for something."""
        return next((minute for minute in reversed(self.minutes) if minute.requests), None)


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: its series drawn on a common axis, and their values for the script that draws it finer."""

    key: str
    title: str
    unit: str
    series: tuple[tuple[str, str, tuple[float | None, ...]], ...]  # word, colour's name, a value per minute
    bars: bool = True  # else lines

    @property
    def top(self) -> float:
        return max((value for _, _, values in self.series for value in values if value is not None), default=0.0)

    def json(self) -> str:
        """Its series for the script, in the order in which they are drawn."""
        return json.dumps([[word, colour, values] for word, colour, values in self.series], separators=(",", ":"))

    def lines(self) -> list[tuple[str, str]]:
        """(colour's name, SVG polyline points)."""
        return [(colour, chart.line_to(values, self.top)) for _, colour, values in self.series]


def panels(charts: Charts) -> list[Panel]:
    """The three charts. Of stacked tokens the upper series is the total. Floats: for the eye only."""
    minutes, currency = charts.minutes, charts.currency
    cost = tuple(float(minute.spent(currency)) for minute in minutes)
    longest = max((minute.latency_p99_ms or 0 for minute in minutes), default=0)
    return [
        Panel(
            "tokens",
            "Tokens",
            "",
            (
                ("total", "completion", tuple(float(minute.total_tokens) for minute in minutes)),
                ("prompt", "prompt", tuple(float(minute.prompt_tokens) for minute in minutes)),
            ),
        ),
        Panel("cost", "Cost", charts.currency, (("cost", "cost", cost),)),
        Panel(
            "latency",
            "Latency",
            show.latency_unit(longest),
            (
                ("p99", "p99", tuple(minute.latency_p99_ms for minute in minutes)),
                ("p95", "p95", tuple(minute.latency_p95_ms for minute in minutes)),
                ("p50", "p50", tuple(minute.latency_p50_ms for minute in minutes)),
            ),
            bars=False,
        ),
    ]


def whole_hour(told: Sequence[Minute], missing: int = 0) -> Charts:
    """The newest hour, minutes without usage filled in. Pure."""
    by_start = {minute.start_ms // MINUTE_MS: minute for minute in told}
    if not by_start:
        return Charts((), missing)
    newest = max(by_start)
    first = max(min(by_start), newest - MINUTES + 1)
    return Charts(
        tuple(by_start.get(at) or Minute(at * MINUTE_MS) for at in range(first, newest + 1)),
        missing,
    )


class Feed:
    """Asks a worker of llm-metrics, whichever answers."""

    def __init__(self, fleets: Fleets, timeout_s: float) -> None:
        self._fleets, self._timeout = fleets, aiohttp.ClientTimeout(total=timeout_s)

    async def ask(self) -> Charts:
        """The newest hour. Raises `Unavailable` when no worker answers."""
        await self._fleets.standings.sure()
        urls = self._fleets.urls(GROUP)[:MEMBERS_MAX]
        if not urls:
            raise Unavailable(f"no worker of {GROUP} is known to run")
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            for url in urls:
                try:
                    async with session.get(url.rstrip("/") + TOLD, allow_redirects=False) as answer:
                        answer.raise_for_status()
                        told = msgspec.json.decode(await bounded(answer), type=_Told)
                    return whole_hour(told.minutes, len(told.missing))
                except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError, ValueError):
                    continue
        raise Unavailable(f"no worker of {GROUP} answers")
