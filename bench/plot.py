"""Bars as an SVG, without a library: throughput to the right, CPU per event beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, TOP, NAME, BAR, GAP = 960, 30, 84, 170, 300, 90
OURS, OTHERS, WRONG = "#2f6f4f", "#8a94a6", "#b3261e"
STYLE = "text{font:14px system-ui,sans-serif;fill:#1c1f24}.small{font-size:12px;fill:#596170}"


def bars(rows: Sequence[Mapping[str, Any]], subtitle: str) -> str:
    """An SVG document: a row for each contender, with two bars and their numbers."""
    height = TOP + ROW * len(rows) + 16
    right = NAME + BAR + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="28" font-weight="600">Hourly usage, exact totals: events per second and what they cost</text>',
        f'<text x="16" y="48" class="small">{escape(subtitle)}</text>',
        f'<text x="{NAME}" y="74" class="small">events/s, more is better</text>',
        f'<text x="{right}" y="74" class="small">CPU µs per event, less is better</text>',
    ]
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        parts.append(f'<text x="16" y="{y + 16}">{escape(row["name"])}</text>')
        parts += _bar(NAME, y, row, "events_per_s", rows, ",.0f")
        parts += _bar(right, y, row, "cpu_us_per_event", rows, ",.1f")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(x: int, y: int, row: Mapping[str, Any], field: str, rows: Sequence[Mapping[str, Any]], form: str) -> list[str]:
    value, most = row[field], max(other[field] for other in rows) or 1
    width = max(2.0, BAR * value / most)
    color = WRONG if not row["correct"] else OURS if row["name"].startswith("ours") else OTHERS
    return [
        f'<rect x="{x}" y="{y + 2}" width="{width:.1f}" height="{ROW - 12}" rx="3" fill="{color}"/>',
        f'<text x="{x + width + 6:.1f}" y="{y + 16}" class="small">{format(value, form)}</text>',
    ]
