"""What an event costs as the log grows, and as the teams become many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.contenders import named
from bench.events import Shape
from bench.load import Step, prepare
from bench.measure import Figures
from bench.watch import run_once

SIZES = (100_000, 1_000_000)
LARGE = 10_000_000
TEAMS = (100, 1_000, 100_000)


def shapes(sizes: Sequence[int], teams: Sequence[int]) -> list[Shape]:
    """Every size at a thousand teams, then every number of teams at the middle size; none twice."""
    middle = sizes[min(1, len(sizes) - 1)]
    wanted = [Shape(size) for size in sizes] + [Shape(middle, count) for count in teams]
    return list(dict.fromkeys(wanted))


def curve(wanted: Sequence[Shape], file: Path, step: Step, console: Console) -> bool:
    """Run `ours` over each shape, print and write the figures. Returns whether all answers were right."""
    ours = named("ours")[0]
    rows: list[tuple[Shape, Figures]] = []
    for shape in wanted:
        prepared = prepare(shape, step)
        title = f"{shape.events:,} events, {shape.teams:,} teams"
        one = run_once(ours, prepared, partial(step, title))
        rows.append((shape, one))
        console.print(f"{title}: {one.events_per_s:,.0f} events/s, {one.cpu_us_per_event:.1f} µs/event")
    table = Table(title="what an event costs", title_justify="left")
    for heading in (
        "events",
        "teams",
        "bills",
        "events/s",
        "CPU µs/event",
        "steady",
        "broker µs",
        "peak MB",
        "correct",
    ):
        table.add_column(heading, justify="right")
    for shape, one in rows:
        numbers = (one.cpu_us_per_event, one.cpu_us_steady, one.broker_cpu_us)
        table.add_row(
            f"{shape.events:,}",
            f"{shape.teams:,}",
            f"{len(prepare(shape, step).expected):,}",
            f"{one.events_per_s:,.0f}",
            *(f"{number:.1f}" for number in numbers),
            f"{one.rss_mb:,.0f}",
            "yes" if one.correct else "NO",
        )
    console.print(table)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([{"teams": shape.teams, **asdict(one)} for shape, one in rows], indent=2) + "\n")
    return all(one.correct for _, one in rows)
