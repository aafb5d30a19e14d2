"""`/latency`: calls by minute, hour and model, with quantiles of the whole fleet; and these for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson

from streamapp.facts.worker import CallFacts, Span
from streamapp.meters.latency import exposition
from streamapp.meters.latency.exposition import QUANTILES, Quantiles
from streamapp.web import show
from streamapp.web.pages.models.calls import Calls, Figures, ask, summed
from streamapp.web.pages.models.charts import Panel
from streamapp.web.pages.page import FIRST_EVENT, Params, Site
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from tables.latency.tally import Series
from tables.window import HOUR_MS, MINUTE_MS

TABLE = "latency"
MINUTES = 60
MINUTES_MAX = 120
HOURS = 48
SHOWN: dict[str, tuple[Span, int, int]] = {
    # window    by what  of how long  so many
    "1h": ("minute", MINUTE_MS, 60),
    "2h": ("minute", MINUTE_MS, 120),
    "24h": ("hour", HOUR_MS, 24),
    "48h": ("hour", HOUR_MS, 48),
}
WINDOWS: tuple[tuple[str, Span, int], ...] = (("1m", "minute", MINUTE_MS), ("1h", "hour", HOUR_MS))
DURATIONS = (("latency_p50_ms", 0), ("latency_p95_ms", 1), ("latency_p99_ms", 2))
FIRST_TOKENS = (("ttft_p50_ms", 0), ("ttft_p95_ms", 1))


async def latency(site: Site, params: Params) -> Page:
    """`/latency`: charts by the minute or the hour of a window, and models with their figures in it. Its twin has
    minutes and hours. `model`: only those whose names contain it."""
    window = params.get("window") or "1h"
    if window not in SHOWN:
        raise Problem(400, "There is no such window", f"In the address, window is one of {', '.join(SHOWN)}.")
    span, length_ms, count = SHOWN[window]
    minutes = _minutes(params.get("minutes") or str(max(MINUTES, count) if span == "minute" else MINUTES))
    until_ms = site.clock() // MINUTE_MS * MINUTE_MS + MINUTE_MS
    hours_until_ms = (until_ms - 1) // HOUR_MS * HOUR_MS + HOUR_MS
    from_ms = until_ms - minutes * MINUTE_MS
    models_from_ms = from_ms // HOUR_MS * HOUR_MS if span == "minute" else hours_until_ms - count * HOUR_MS
    each = bool(params.get("model"))
    asked = await asyncio.gather(
        ask(site.fleet, "minute", from_ms, until_ms, each=each),
        ask(site.fleet, "hour", hours_until_ms - HOURS * HOUR_MS, hours_until_ms, each=each),
        ask(site.fleet, "hour", models_from_ms, hours_until_ms, each=True),
    )
    by_minute, by_hour, by_model = (_named(calls, params.get("model", "")) for calls in asked)
    models = await asyncio.to_thread(_models, by_model)
    unanswered = sorted({number for calls in asked for number in calls.unanswered})
    document: dict[str, Any] = {
        "minutes": await asyncio.to_thread(_windows, by_minute),
        "models": models,
        "models_since_ms": models_from_ms,
        "hours": await asyncio.to_thread(_windows, by_hour),
        "missing": sorted({url for calls in asked for url in calls.missing}),
        "partitions_unanswered": unanswered,
    }
    drawn = document["minutes"] if span == "minute" else document["hours"]
    last_ms = until_ms if span == "minute" else hours_until_ms
    first_ms = last_ms - count * length_ms
    context = {
        **{"models": models, "since_ms": models_from_ms, "first_event": FIRST_EVENT},
        "unit": show.latency_unit(max((row["latency_p99_ms"] or 0 for row in models), default=0)),
        "panels": charts_of(drawn, first_ms, length_ms, count),
        **{"first_ms": first_ms, "step_ms": length_ms, "until_ms": last_ms},
        **{"window": window, "windows": SHOWN, "params": params},
        **{"missing": document["missing"], "unanswered": unanswered},
    }
    # Numbers of charts, not of people: milliseconds stay numbers.
    twin = orjson.Fragment(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return Page("latency.html", "Latency", context, twin, place="latency")


def charts_of(windows: Sequence[dict[str, Any]], first_ms: int, step_ms: int, count: int) -> list[Panel]:
    """Latency, error rate and requests; None where nothing was asked. Empty without any call."""
    by_start = {one["start_ms"]: one for one in windows}
    shown = [by_start.get(first_ms + number * step_ms) for number in range(count)]
    if not any(shown):
        return []

    def values(name: str) -> tuple[float | None, ...]:
        return tuple(None if one is None else one[name] for one in shown)

    longest = max((value for value in values("latency_p99_ms") if value is not None), default=0)
    errors = tuple(one["errors"] / one["requests"] * 100 if one and one["requests"] else None for one in shown)
    latency_series = tuple((word, word, values(f"latency_{word}_ms")) for word in ("p99", "p95", "p50"))
    return [
        Panel("latency", "Latency", show.latency_unit(longest), latency_series),
        Panel("errors", "Error rate", "%", (("errors", "p99", errors),)),
        Panel("requests", "Requests", "", (("requests", "completion", tuple(one or 0 for one in values("requests"))),)),
    ]


def _named(calls: Calls, model: str) -> Calls:
    text = model.casefold()
    found = tuple(one for one in calls.calls if text in f"{one.provider}/{one.model}".casefold())
    return Calls(found, calls.missing, calls.unanswered) if text else calls


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
        Quantiles(
            series,
            window,
            _seconds(figures.latency.quantiles(*QUANTILES)),
            _seconds(figures.ttft.quantiles(*QUANTILES)),
        )
        for (window, _, _), calls in zip(WINDOWS, found, strict=True)
        for series, figures in summed(calls.calls, _series).items()
    ]
    return exposition.gauges(quantiles, unanswered, openmetrics).encode()


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
