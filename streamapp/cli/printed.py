"""How commands print tables. One rule for all of them:

- In a terminal a table is as wide as the terminal and nothing of it is cut. Where that would make it taller than a list
  (80 columns and nine columns of a table), its rows are printed one below the other: `psql` calls it expanded.
- In a pipe or a file each row is one line, however long, for `grep`, `awk` and `less -S`. For programs: `--json`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import click
from rich.cells import cell_len
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from streamapp.verify.report import Findings

PIPED = 100_000  # columns: more than any row has
BETWEEN = " · "

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def console(stderr: bool = False, quiet: bool = False) -> Console:
    """Standard output, or standard error. `quiet`: nothing is printed."""
    made = Console(stderr=stderr, highlight=False, quiet=quiet)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, quiet=quiet, width=PIPED)


def progress(shown: bool, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """How far it is, on standard error, where that is a terminal."""
    err = Console(stderr=True)
    return Progress(*columns, console=err, disable=not (shown and err.is_terminal), transient=transient)


def bars(shown: bool, *, percent: bool = False, transient: bool = False) -> Progress:
    """Bars of what has an end."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    columns[2:2] = [TaskProgressColumn()] * percent
    return progress(shown, *columns, transient=transient)


def print_json(value: object) -> None:
    """One value as JSON on standard output. In ASCII: half of a surrogate pair has no UTF-8, and a terminal is given no
    control characters of strangers."""
    click.echo(json.dumps(value, indent=2))


def counted(count: int, noun: str) -> str:
    """`1 record`, `1,200 records`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_faults(faults: Iterable[tuple[str, Findings]], meanings: Mapping[str, str], out: Console) -> None:
    """How many of each kind were found, by one check or several."""
    counts: Counter[str] = Counter()
    for name, found in faults:
        counts[name] += found.count
    table = Table("fault", "count", "means")
    for name, count in counts.items():
        table.add_row(name, f"[{'bold red' if count else 'green'}]{count:,}[/]", meanings[name])
    print_table(table, out)


def print_table(table: Table, out: Console | None = None) -> None:
    """Print it, to standard output by default."""
    out = console() if out is None else out
    for column in table.columns:
        column.overflow = "fold"
    if table.show_header and len(table.columns) > 1 and out.width < PIPED:
        for column in table.columns:  # sentences wrap; a column of names is as wide as the longest
            cells = [_text(cell, out) for cell in column.cells]
            column.no_wrap = not any(" " in cell.plain for cell in cells)
            if column.no_wrap:
                column.min_width = max(
                    cell_len(line) for cell in (_text(column.header, out), *cells) for line in cell.plain.split("\n")
                )
        rows = Group(*_one_below_the_other(table, out))
        # Without the room of a pipe rich says that every table fits: it breaks words.
        fits = Measurement.get(out, out.options.update(width=PIPED), table).minimum <= out.width
        if not fits or len(out.render_lines(rows)) < len(out.render_lines(table)):
            out.print(rows)
            return
    out.print(table)


def _text(cell: object, out: Console) -> Text:
    return cell.copy() if isinstance(cell, Text) else out.render_str(str(cell))


def _one_below_the_other(table: Table, out: Console) -> Iterator[Text | Padding]:
    """Each row: its first cell, and below it the others that are not empty, with the heads of their columns."""
    if table.title:
        yield Text(str(table.title), style="italic")
    heads = [str(column.header) for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        texts = [_text(cell, out) for cell in cells]
        yield Text.assemble((texts[0].plain, "bold"), overflow="fold")
        parts = [
            Text.assemble((f"{head} ", "dim"), text) for head, text in zip(heads, texts, strict=True) if text.plain
        ]
        if len(parts) > 1:
            yield Padding(Text(BETWEEN, overflow="fold").join(parts[1:] if texts[0].plain else parts), (0, 0, 0, 2))
