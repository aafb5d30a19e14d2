"""The front capture beside the reference: measure, print, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.capture.figures import Figures, report
from bench.capture.fronts import OURS, REFERENCE, Front
from bench.capture.rounds import rounds
from bench.compare import machine
from bench.contender import Missing
from bench.load import Step

COLUMNS = (  # heading, field, format
    ("events/s", "events_per_s", ",.0f"),
    ("CPU µs/event", "cpu_us_per_event", ".1f"),
    ("ratio", "ratio", ".2f"),
    ("at most", "ratio_max", ".1f"),
    ("p50 ms", "p50_ms", ".1f"),
    ("p99 ms", "p99_ms", ".1f"),
    ("half: p50", "half_p50_ms", ".1f"),
    ("p99", "half_p99_ms", ".1f"),
    ("broker µs", "broker_cpu_us", ".1f"),
    ("peak MB", "rss_mb", ",.0f"),
)


def compare(
    fronts: Sequence[Front], count: int, seconds: float, files: Sequence[Path], step: Step, console: Console
) -> int:
    """The exit code: 1 when one of our answers was not in the topic, or when nothing could be measured."""
    console.print(f"{count} rounds of {seconds:g} s · {machine()}", style="bold", markup=False)
    present = [front for front in fronts if _ready(front, console)]
    runs: list[Figures] = []
    try:
        for run in rounds(present, count, seconds, lambda what: step(what, 0, 1)):
            console.print(_line(run), markup=False, style="red" if run.full.problems or run.half.problems else "")
            runs.append(run)
    except RuntimeError as error:
        console.print(str(error), style="red", markup=False)
    rows = report(runs, REFERENCE)
    _print(rows, console)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=2) + "\n")
    console.print(f"report: {', '.join(map(str, files))}", markup=False)
    ours = [row["correct"] for row in rows if row["name"] == OURS]
    complete = len(runs) == 2 * count * len(fronts)
    return 0 if all(ours) and complete else 1


def _ready(front: Front, console: Console) -> bool:
    try:
        front.prepare()
    except Missing as error:
        console.print(f"{front.name}: {error}", style="yellow", markup=False)
        return False
    return True


def _line(run: Figures) -> str:
    rate, cost = run.full.events / run.full.seconds, run.full.cpu_us_per_event
    verdict = "; ".join([*run.full.problems, *run.half.problems]) or "every 200 is in the topic"
    half = f"p99 at half load {run.half.p99_ms:.1f} ms"
    return f"round {run.round}: {run.name}, {run.kind}: {rate:,.0f} events/s, {cost:.1f} µs/event, {half}, {verdict}"


def _print(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title="medians over the rounds", title_justify="left")
    for heading in ("requests", "front"):
        table.add_column(heading)
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("correct", justify="center")
    for row in rows:
        cells = ["–" if row[field] is None else format(row[field], form) for _, field, form in COLUMNS]
        table.add_row(row["kind"], row["name"], *cells, "yes" if row["correct"] else "[bold red]NO[/]")
    console.print(table)
