"""Geometry of the two small drawings: hours of a month as bars, events per second as a line. Numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from streamapp.facts.worker import HourFacts, HourState
from streamapp.web import show
from tables.window import HOUR_MS, month_end, month_of, month_start

DAY_MS = 24 * HOUR_MS
HOURS_DRAWN = 96
BAR = 4  # units a bar and its gap are wide
HEIGHT = 96


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour."""

    x: int
    y: float
    height: float
    state: HourState
    label: str


@dataclass(frozen=True, slots=True)
class Bars:
    """The hours of a month in one currency."""

    month: str
    width: int
    height: int
    bars: tuple[Bar, ...]
    days: tuple[tuple[int, str], ...]  # place in percent, label
    highest: Decimal


def month_bars(hours: Sequence[HourFacts], currency: str) -> Bars | None:
    """Bars over the month of the newest hour; None without hours."""
    if not hours:
        return None
    month = month_of(max(hour.start_ms for hour in hours))
    first_ms, days = month_start(month), (month_end(month) - month_start(month)) // DAY_MS
    shown = [hour for hour in hours if 0 <= hour.start_ms - first_ms < days * 24 * HOUR_MS]
    highest = max((hour.cost for hour in shown), default=Decimal(0))
    bars = []
    for hour in sorted(shown, key=lambda hour: hour.start_ms):
        label = f"{show.day_clock(hour.start_ms)} UTC: {show.money(hour.cost, currency)}, {hour.state}"
        place = (hour.start_ms - first_ms) // HOUR_MS * BAR
        bars.append(_bar(place, hour.cost, highest, hour.state, label))
    name = show.moment(first_ms).strftime("%b")
    ticks = tuple((round((day - 1) / days * 100), f"{name} {day}") for day in (1, 8, 15, 22, 29) if day <= days)
    return Bars(month, days * 24 * BAR, HEIGHT, tuple(bars), ticks, highest)


def span_bars(costs: Mapping[int, Decimal], currency: str, from_ms: int) -> Bars | None:
    """Bars of the hours of a span, or of its days where there are more than `HOURS_DRAWN`; None with fewer than
    two of them. `costs`: by the start of the hour."""
    if not costs:
        return None
    first, last = max(from_ms, min(costs) - min(costs) % DAY_MS), max(costs)
    by_day = last - first > HOURS_DRAWN * HOUR_MS
    step = DAY_MS if by_day else HOUR_MS
    first -= first % step
    sums: dict[int, Decimal] = {}
    for start, cost in costs.items():
        at = start - start % step
        sums[at] = show.EXACT.add(sums.get(at, Decimal(0)), cost)
    highest, count = max(sums.values()), (last - first) // step + 1
    if count < 2:
        return None
    bars = []
    for start, cost in sorted(sums.items()):
        when = f"{show.day_clock(start)} UTC" if not by_day else show.rfc3339(start)[:10]
        label = f"{when}: {show.money(cost, currency)}"
        bars.append(_bar((start - first) // step * BAR, cost, highest, "closed", label))
    marks = sorted({0, count // 4, count // 2, count * 3 // 4})
    ticks = tuple((round(at / count * 100), _tick(first + at * step, by_day)) for at in marks)
    return Bars("day" if by_day else "hour", count * BAR, HEIGHT, tuple(bars), ticks, highest)


def _bar(x: int, cost: Decimal, highest: Decimal, state: HourState, label: str) -> Bar:
    height = max(1.5, round(float(cost / highest) * HEIGHT, 2)) if highest else 1.5
    return Bar(x, round(HEIGHT - height, 2), height, state, label)


def _tick(at_ms: int, by_day: bool) -> str:
    return show.day_clock(at_ms).split(",")[0] if by_day else show.day_clock(at_ms)


def line(points: Sequence[float], width: int = 160, height: int = 32) -> str:
    """SVG polyline points; empty for fewer than two values."""
    if len(points) < 2:
        return ""
    top = max(max(points), 1e-9)
    step = width / (len(points) - 1)
    return " ".join(
        f"{index * step:.1f},{height - 1.5 - value / top * (height - 3):.1f}" for index, value in enumerate(points)
    )


def line_to(points: Sequence[float | None], top: float, width: int = 240, height: int = 96) -> str:
    """SVG polyline points under a common highest value; what is None is passed over. Empty for fewer than two."""
    known = [(index, value) for index, value in enumerate(points) if value is not None]
    if len(known) < 2:
        return ""
    step, scale = width / (len(points) - 1), max(top, 1e-9)
    return " ".join(f"{index * step:.1f},{height - value / scale * (height - 4):.1f}" for index, value in known)
