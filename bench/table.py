"""The report as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS: tuple[tuple[str, str, str], ...] = (  # heading, field, format
    ("events/s", "events_per_s", ",.0f"),
    ("steady", "events_per_s_steady", ",.0f"),
    ("ratio", "ratio", ".2f"),
    ("CPU µs/event", "cpu_us_per_event", ".1f"),
    ("steady", "cpu_us_steady", ".1f"),
    ("with start", "cpu_us_from_start", ".1f"),
    ("broker µs", "broker_cpu_us", ".1f"),
    ("peak MB", "rss_mb", ",.0f"),
    ("seconds", "from_start_s", ".1f"),
    ("events", "events", ",d"),
)
ESSENTIAL = {"events_per_s", "ratio", "cpu_us_per_event", "cpu_us_steady", "rss_mb"}
WIDE = 125  # characters that all columns need


def print_table(rows: Sequence[Mapping[str, Any]], notes: Mapping[str, str], console: Console) -> None:
    """The rows in their order, then who is missing or failed, and why."""
    table = Table(title="medians over the rounds", title_justify="left")
    table.add_column("contender")
    columns = [column for column in COLUMNS if console.width >= WIDE or column[1] in ESSENTIAL]
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    table.add_column("correct", justify="center")
    for row in rows:
        cells = [_cell(row[field], form) for _, field, form in columns]
        table.add_row(row["name"], *cells, "yes" if row["correct"] else "[bold red]NO[/]")
    console.print(table)
    for name, note in notes.items():
        console.print(f"{name}: {note}", style="yellow", markup=False)


def _cell(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)
