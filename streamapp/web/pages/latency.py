"""`/latency`: calls by minute, hour and model, with quantiles of the whole fleet; and these for Prometheus."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from streamapp import llm_exposition
from streamapp.llm_exposition import QUANTILES, STREAMS, Quantiles
from streamapp.web import show
from streamapp.web.pages.calls import Calls, Figures, ask, summed
from streamapp.web.pages.page import FIRST_EVENT, Params, Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers.source import CallFacts, Span
from tables.latency.tally import Series
from tables.window import HOUR_MS, MINUTE_MS

TABLE = "latency"
MINUTES = 60
MINUTES_MAX = 120
HOURS = 48
WINDOWS: tuple[tuple[str, Span, int], ...] = (("1m", "minute", MINUTE_MS), ("1h", "hour", HOUR_MS))
DURATIONS = (("latency_p50_ms", 0), ("latency_p95_ms", 1), ("latency_p99_ms", 2))
FIRST_TOKENS = (("ttft_p50_ms", 0), ("ttft_p95_ms", 1))


async def latency(site: Site, params: Params) -> Page:
    """The page: models with their figures over the hours that the asked minutes touch; its twin has minutes and hours,
    too."""
    minutes = _minutes(params.get("minutes") or str(MINUTES))
    until_ms = site.clock() // MINUTE_MS * MINUTE_MS + MINUTE_MS
    from_ms = until_ms - minutes * MINUTE_MS
    hours_until_ms = (until_ms - 1) // HOUR_MS * HOUR_MS + HOUR_MS
    models_from_ms = from_ms // HOUR_MS * HOUR_MS
    by_minute, by_hour, by_model = await asyncio.gather(
        ask(site.fleet, "minute", from_ms, until_ms, each=False),
        ask(site.fleet, "hour", hours_until_ms - HOURS * HOUR_MS, hours_until_ms, each=False),
        ask(site.fleet, "hour", models_from_ms, hours_until_ms, each=True),
    )
    models = await asyncio.to_thread(_models, by_model)
    asked = (by_minute, by_hour, by_model)
    unanswered = sorted({number for calls in asked for number in calls.unanswered})
    document = {
        "minutes": await asyncio.to_thread(_windows, by_minute),
        "models": models,
        "models_since_ms": models_from_ms,
        "hours": await asyncio.to_thread(_windows, by_hour),
        "missing": sorted({url for calls in asked for url in calls.missing}),
        "partitions_unanswered": unanswered,
    }
    context = {
        "models": models,
        "since_ms": models_from_ms,
        "missing": document["missing"],
        "unanswered": unanswered,
        "streams": STREAMS,
        "first_event": FIRST_EVENT,
    }
    # Numbers of charts, not of people: milliseconds stay numbers.
    twin = orjson.Fragment(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return Page("latency.html", "Latency", context, twin, place="latency")


async def gauges(site: Site, openmetrics: bool) -> bytes:
    """The quantiles of the fleet in the last full minute and hour, as Prometheus' text."""
    now_ms = site.clock()
    asked = [
        ask(site.fleet, span, start_ms, start_ms + length_ms, each=True)
        for _, span, length_ms in WINDOWS
        for start_ms in (now_ms // length_ms * length_ms - length_ms,)
    ]
    found = await asyncio.gather(*asked)
    unanswered = max(len(calls.unanswered) for calls in found)
    return await asyncio.to_thread(_gauges, found, unanswered, openmetrics)


def _gauges(found: list[Calls], unanswered: int, openmetrics: bool) -> bytes:
    quantiles = [
        Quantiles(series, window, _seconds(figures.latency.quantiles(*QUANTILES)), _seconds(_ttft(figures)))
        for (window, _, _), calls in zip(WINDOWS, found, strict=True)
        for series, figures in summed(calls.calls, _series).items()
    ]
    return llm_exposition.gauges(quantiles, unanswered, openmetrics).encode()


def _ttft(figures: Figures) -> tuple[float, ...] | None:
    return figures.ttft.quantiles(*QUANTILES)


def _seconds(values_us: tuple[float, ...] | None) -> list[float] | None:
    return None if values_us is None else [value / 1_000_000 for value in values_us]


def _series(calls: CallFacts) -> Series:
    return Series(calls.provider, calls.model, calls.stream)


def _models(calls: Calls) -> list[dict[str, Any]]:
    """The busiest first."""
    sums = sorted(summed(calls.calls, _series).items(), key=lambda item: (-item[1].requests, item[0][:2], str(item[0])))
    return [{**series._asdict(), **_facts(figures)} for series, figures in sums]


def _windows(calls: Calls) -> list[dict[str, Any]]:
    sums = summed(calls.calls, lambda one: one.start_ms)
    return [{"start_ms": start_ms, **_facts(figures)} for start_ms, figures in sorted(sums.items())]


def _facts(figures: Figures) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: getattr(figures, name)
        for name in ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")
    }
    facts["cost"] = {currency: show.exact(cost) for currency, cost in sorted(figures.cost.items())}
    for names, spread in ((DURATIONS, figures.latency), (FIRST_TOKENS, figures.ttft)):
        values = spread.quantiles(*QUANTILES)
        facts |= {name: None if values is None else round(values[at] / 1000, 3) for name, at in names}
    return facts


def _minutes(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MINUTES_MAX:
        return int(text)
    raise Problem(
        400, "So many minutes cannot be shown", f"In the address, minutes is a number from 1 to {MINUTES_MAX}."
    )
